"""What we draw is read by a decoder that shares no code with us: zxing-cpp."""

import stat
from pathlib import Path

import pytest
import segno
from hypothesis import given, settings
from hypothesis import strategies as st

from issuer.drawing import draw, save, terminal_text
from loadtest.qr_image import read_qr_image
from tests.issuer.terminal_picture import read_terminal
from tests.issuer.test_signing import PAPER, PHONE, bundle

PHONE_TEXT = bundle(PHONE)[0].qr_text.decode()
PAPER_TEXT = bundle(PAPER)[0].qr_text.decode()


@pytest.mark.parametrize("qr_text", [PHONE_TEXT, PAPER_TEXT])
def test_a_png_is_read_by_an_independent_decoder(tmp_path: Path, qr_text: str) -> None:
    save(draw(qr_text), tmp_path / "code.png")
    assert read_qr_image(tmp_path / "code.png") == qr_text.encode()


@pytest.mark.parametrize("qr_text", [PHONE_TEXT, PAPER_TEXT])
def test_the_terminal_drawing_is_read_by_an_independent_decoder(qr_text: str) -> None:
    found = read_terminal(terminal_text(draw(qr_text)))
    assert found.text == qr_text
    assert found.ec_level == "M"


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 2**32 - 1),
    st.integers(1, 2**32 - 1),
    st.integers(1_700_000_000, 2**32 - 1_000),
)
def test_any_phone_code_is_drawn_so_that_it_is_read(index: int, generation: int, now: int) -> None:
    credential = type(PHONE)(PHONE.kind, index, generation, hint="")
    qr_text = bundle(credential, now=now)[0].qr_text.decode()
    assert read_terminal(terminal_text(draw(qr_text))).text == qr_text


def test_a_code_is_drawn_in_alphanumeric_mode_at_the_level_asked_for() -> None:
    symbol = draw(PHONE_TEXT)
    assert (symbol.mode, symbol.error, symbol.designator) == ("alphanumeric", "M", "7-M")
    assert draw("GL1:").error == "M"  # where segno would have room for a higher one


def test_a_quiet_zone_of_four_modules_surrounds_the_symbol() -> None:
    lines = terminal_text(draw(PHONE_TEXT)).splitlines()
    assert all(len(line) == 45 + 2 * 4 for line in lines)
    light = chr(0x2588)
    assert lines[0] == lines[1] == light * 53
    assert all(line.startswith(light * 4) and line.endswith(light * 4) for line in lines[:-1])


def test_an_svg_is_written(tmp_path: Path) -> None:
    save(draw(PHONE_TEXT), tmp_path / "code.SVG")
    assert (tmp_path / "code.SVG").read_text().rstrip().endswith("</svg>")


def test_a_picture_is_for_its_owner_alone(tmp_path: Path) -> None:
    save(draw(PHONE_TEXT), tmp_path / "code.png")
    assert stat.S_IMODE((tmp_path / "code.png").stat().st_mode) == 0o600


def test_a_picture_is_replaced_only_when_asked(tmp_path: Path) -> None:
    save(draw(PHONE_TEXT), tmp_path / "code.png")
    with pytest.raises(FileExistsError):
        save(draw(PAPER_TEXT), tmp_path / "code.png")
    assert read_qr_image(tmp_path / "code.png") == PHONE_TEXT.encode()
    save(draw(PAPER_TEXT), tmp_path / "code.png", replace=True)
    assert read_qr_image(tmp_path / "code.png") == PAPER_TEXT.encode()


def test_text_that_is_no_code_is_not_drawn_in_another_mode() -> None:
    with pytest.raises(segno.DataOverflowError):
        draw("A" * 10_000)
    with pytest.raises(ValueError, match="alphanumeric"):
        draw("lower case")
