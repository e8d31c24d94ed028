"""The list of reasons: what it takes, what it refuses to be, and what it answers."""

from pathlib import Path

import pytest

from issuer.errors import SettingsError
from issuer.reasons import DEFAULT_LIST, Reason, Reasons
from verifier.wire.status_record import Colour

_TWO = """
[[reason]]
code = 12
text = "close contact of a case"
colours = ["YELLOW", "RED"]

[[reason]]
code = 1
text = "隔离期满"
colours = ["GREEN"]
"""


def entry(**changed: str) -> str:
    """Return a list of one entry, with fields as they stand in TOML."""
    fields = {"code": "12", "text": '"contact"', "colours": '["RED"]'} | changed
    return "[[reason]]\n" + "\n".join(f"{name} = {value}" for name, value in fields.items())


def test_reasons_are_given_by_code() -> None:
    assert list(Reasons.parse(_TWO)) == [
        Reason(1, "隔离期满", frozenset({Colour.GREEN})),
        Reason(12, "close contact of a case", frozenset({Colour.YELLOW, Colour.RED})),
    ]


@pytest.mark.parametrize(
    ("code", "colour"),
    [(12, Colour.YELLOW), (12, Colour.RED), (1, Colour.GREEN), (0, Colour.GREEN)],
)
def test_a_reason_on_the_list_is_taken_for_its_colours_and_green_needs_none(
    code: int, colour: Colour
) -> None:
    assert Reasons.parse(_TWO).check(code, colour) is None


@pytest.mark.parametrize(
    ("code", "colour", "problem"),
    [
        (0, Colour.YELLOW, "expected a reason for YELLOW, got none"),
        (0, Colour.RED, "expected a reason for RED, got none"),
        (13, Colour.RED, "13 is not on the list, see: gatelight-issuer status reasons"),
        (65_536, Colour.RED, "65536 is not on the list, see: gatelight-issuer status reasons"),
        (12, Colour.GREEN, "12 is no reason for GREEN, see: gatelight-issuer status reasons"),
        (1, Colour.RED, "1 is no reason for RED, see: gatelight-issuer status reasons"),
    ],
)
def test_any_other_reason_is_refused(code: int, colour: Colour, problem: str) -> None:
    assert Reasons.parse(_TWO).check(code, colour) == problem


def test_a_code_that_is_not_on_the_list_says_nothing() -> None:
    reasons = Reasons.parse(_TWO)
    assert (reasons.text(12), reasons.text(0), reasons.text(13)) == ("close contact of a case", "", "")


@pytest.mark.parametrize("code", [1, 65_535])
def test_the_first_and_the_last_code_are_taken(code: int) -> None:
    assert [reason.code for reason in Reasons.parse(entry(code=str(code)))] == [code]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "expected [[reason]] entries and nothing else"),
        ("reason = []\nmore = 1", "expected [[reason]] entries and nothing else"),
        ("reason = 5", "expected [[reason]] entries and nothing else"),
        ("[[reason]]\ncode = x\n", "expected TOML: Invalid value (at line 2, column 8)"),
        ("reason = [5]", "[[reason]] 1: expected code, text and colours, and nothing else"),
        (entry(colour='"RED"'), "[[reason]] 1: expected code, text and colours, and nothing else"),
        (entry(code="0"), "[[reason]] 1: code: expected 1 to 65535, got 0"),
        (entry(code="65536"), "[[reason]] 1: code: expected 1 to 65535, got 65536"),
        (entry(code="true"), "[[reason]] 1: code: expected 1 to 65535, got True"),
        (entry(code='"12"'), "[[reason]] 1: code: expected 1 to 65535, got '12'"),
        (entry(text='" "'), "[[reason]] 1: text: expected 1 to 100 characters without control characters"),
        (
            entry(text=f'"{101 * "x"}"'),
            "[[reason]] 1: text: expected 1 to 100 characters without control characters",
        ),
        (
            entry(text=r'"a\u001bb"'),
            "[[reason]] 1: text: expected 1 to 100 characters without control characters",
        ),
        (entry(colours="[]"), "[[reason]] 1: colours: expected a list with GREEN, YELLOW or RED"),
        (entry(colours='"RED"'), "[[reason]] 1: colours: expected a list with GREEN, YELLOW or RED"),
        (entry(colours='["red"]'), "[[reason]] 1: colours: expected GREEN, YELLOW or RED, got 'red'"),
        (entry(colours="[3]"), "[[reason]] 1: colours: expected GREEN, YELLOW or RED, got 3"),
        (f"{_TWO}{entry()}", "[[reason]] 3: code 12 is on the list already"),
        (f"reason = {10_000 * '['}", "expected TOML without deep nesting"),
    ],
)
def test_a_list_that_is_wrong_is_refused_with_the_place(text: str, problem: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Reasons.parse(text)
    assert str(caught.value) == problem


def test_a_file_that_is_wrong_is_named(tmp_path: Path) -> None:
    path = tmp_path / "reasons.toml"
    path.write_text(entry(code="0"))
    with pytest.raises(SettingsError, match=r"reasons\.toml: \[\[reason\]\] 1: code: expected 1 to 65535"):
        Reasons.open(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"reasons\.toml: cannot be read: No such file"):
        Reasons.open(tmp_path / "reasons.toml")


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "reasons.toml"
    path.write_bytes("[[reason]] # 隔离".encode("gb18030"))
    with pytest.raises(SettingsError, match="expected UTF-8"):
        Reasons.open(path)


def test_the_default_list_has_reasons_for_every_colour_and_close_contact_as_12() -> None:
    reasons = Reasons.parse(DEFAULT_LIST)
    assert reasons.text(12) == "close contact of a case"
    assert reasons.check(12, Colour.YELLOW) is None
    assert reasons.check(12, Colour.RED) is None
    assert {colour for reason in reasons for colour in reason.colours} == {
        Colour.GREEN,
        Colour.YELLOW,
        Colour.RED,
    }
