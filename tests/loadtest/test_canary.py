"""What must be nowhere is found in whatever form, and a run of everything leaves it nowhere."""

import pytest

from loadtest import canary
from loadtest.canary.needles import Kind, Needles, forms_of
from loadtest.canary.people import KEPT, add_people


def test_a_needle_is_found_in_every_form() -> None:
    needles = Needles()
    secret = KEPT.name.encode()
    needles.add(Kind.NAME, KEPT.name)
    needles.add(Kind.PRIVATE_KEY, bytes(range(160, 192)))
    for form in forms_of(secret):
        assert needles.find(b'{"event": "' + form + b'"}')[Kind.NAME], form
    for form in forms_of(bytes(range(160, 192))):
        assert needles.find(b"key=" + form + b"\n")[Kind.PRIVATE_KEY], form
    for text in (
        KEPT.name.encode("utf-16-le"),
        KEPT.name.encode("gb18030"),
        ascii(KEPT.name).encode(),
        "".join(f"&#{ord(one)};" for one in KEPT.name).encode(),
    ):
        assert needles.find(b"x" + text)[Kind.NAME], text


def test_any_code_is_found_whoever_signed_it() -> None:
    code = b"GL1:6BFOXN%TS3DH0YOJ58S S-W5HDC"
    for form in forms_of(code):
        assert Needles().find(form)[Kind.CODE], form
    assert Needles().find(bytes.fromhex("d2844da201270448") + bytes(8) + b"\xa0")[Kind.CODE]
    assert not Needles().find(b"expected the prefix GL1:, got a text")


def test_what_is_not_there_is_not_found() -> None:
    needles = Needles()
    add_people(needles)
    assert not needles.find(bytes(range(256)) * 100 + b"Qzxv 8817364 0123456789abcdef0123456789abcdef")


@pytest.mark.timeout(300)
def test_a_run_of_everything_leaves_nothing_where_it_must_not_be(capsys: pytest.CaptureFixture[str]) -> None:
    code = canary.run(engines=["grpcio"], is_short=True)
    told = capsys.readouterr().out
    assert code == 0, told
    assert told.splitlines()[-1] == "Nothing was found where it should not be."
