import io
import json

from rich.console import Console

from tests.verifier.gate.answers import NOW, answer
from verifier.gate.advice import stale
from verifier.gate.displays import JsonLines, PlainLines
from verifier.gate.screen import Screen
from verifier.gate.tally import Tally
from verifier.verdict import Verdict
from verifier.wire.code import CredentialKind
from verifier.wire.status_record import Colour

RED = answer(
    Verdict.RED,
    CredentialKind.PAPER,
    hint="王*秀",
    colour=Colour.RED,
    colour_reason=17,
    last_negative_test=NOW - 3_600,
    code_age_s=7,
)


class CountingStream(io.StringIO):
    """Counts how often it was written out."""

    flushes = 0

    def flush(self) -> None:
        self.flushes += 1


def as_json(outcome: object) -> dict[str, object]:
    stream = io.StringIO()
    JsonLines(stream, gate_id="north-3").show(outcome, Tally())  # type: ignore[arg-type]
    members: dict[str, object] = json.loads(stream.getvalue())
    return members


def test_a_json_object_holds_everything_about_a_scan() -> None:
    assert as_json(RED) == {
        "scan_id": "scan-1",
        "gate_id": "north-3",
        "open": False,
        "verdict": "RED",
        "colour": "RED",
        "colour_reason": 17,
        "last_negative_test": NOW - 3_600,
        "kind": "PAPER",
        "hint": "王*秀",
        "code_age_s": 7,
        "status_age_ms": 100,
        "verified_at_ms": NOW * 1_000,
        "entry_scope": None,
        "advice": "do not let pass: call the person in charge",
        "error": None,
        "detail": None,
    }


def test_every_json_object_has_the_same_members() -> None:
    outcomes = [RED, answer(Verdict.MALFORMED, None, code_age_s=None), answer(None), stale("scan-1")]
    assert len({tuple(as_json(outcome)) for outcome in outcomes}) == 1


def test_json_says_null_where_nothing_is_known() -> None:
    members = as_json(answer(Verdict.MALFORMED, None, code_age_s=None))
    unknown = {name for name, value in members.items() if value is None}
    assert unknown == {
        "colour",
        "colour_reason",
        "last_negative_test",
        "kind",
        "hint",
        "code_age_s",
        "entry_scope",
        "error",
        "detail",
    }


def test_json_opens_on_green_and_on_nothing_else() -> None:
    outcomes = [answer(verdict) for verdict in Verdict] + [answer(None), stale("scan-1")]
    assert [as_json(outcome)["open"] for outcome in outcomes] == [True] + [False] * (len(outcomes) - 1)


def test_json_names_the_error_where_there_is_no_verdict() -> None:
    assert (as_json(stale("s"))["verdict"], as_json(stale("s"))["error"]) == (None, "STALE")
    assert as_json(stale("s"))["detail"] == "scanned while another scan was waiting: scan again"
    assert (as_json(answer(None))["verdict"], as_json(answer(None))["error"]) == (None, "UNKNOWN_VERDICT")


def test_a_line_is_written_out_at_once() -> None:
    stream = CountingStream()
    JsonLines(stream, gate_id="north-3").show(RED, Tally())
    PlainLines(stream).show(RED, Tally())
    assert (stream.getvalue().count("\n"), stream.flushes) == (2, 2)


def test_a_hint_in_json_can_be_read_by_people() -> None:
    stream = io.StringIO()
    JsonLines(stream, gate_id="north-3").show(RED, Tally())
    assert "王*秀" in stream.getvalue()


def test_between_scans_lines_are_silent() -> None:
    stream = io.StringIO()
    for display in (PlainLines(stream), JsonLines(stream, gate_id="north-3")):
        display.ready(Tally())
        display.asking()
        display.redraw()
    assert not stream.getvalue()


def test_a_plain_line_says_verdict_advice_and_details() -> None:
    stream = io.StringIO()
    PlainLines(stream).show(RED, Tally())
    assert stream.getvalue() == (
        "RED: do not let pass: call the person in charge; compare the name: 王*秀; printed card; reason 17; "
        "last negative test 60 min ago\n"
    )


def screen_on(stream: io.StringIO, *, has_beep: bool = False, width: int = 80, height: int = 24) -> Screen:
    console = Console(file=stream, force_terminal=True, color_system="standard", width=width, height=height)
    return Screen(console, gate_id="north-3", has_beep=has_beep, sleep=lambda _: None)


def test_the_screen_shows_a_scan_and_the_counts() -> None:
    stream = io.StringIO()
    with screen_on(stream) as screen:
        screen.show(RED, Tally(green=3, refused=1))
    for words in ("R E D", "王*秀", "reason 17", "gate north-3", "scans 4, green 3, refused 1"):
        assert words in stream.getvalue()


def test_the_screen_is_filled_with_the_colour_of_the_verdict() -> None:
    stream = io.StringIO()
    with screen_on(stream, width=40, height=10) as screen:
        screen.show(answer(Verdict.GREEN), Tally())
    assert stream.getvalue().count("\x1b[1;30;42m") >= 10


def test_a_ready_screen_shows_nothing_of_the_last_scan() -> None:
    stream = io.StringIO()
    with screen_on(stream) as screen:
        screen.show(RED, Tally())
        stream.truncate(stream.seek(0))
        screen.ready(Tally())
        screen.redraw()
    assert "王" not in stream.getvalue()
    assert stream.getvalue().count("R E A D Y") == 2


def test_a_screen_too_small_for_everything_shows_what_fits() -> None:
    stream = io.StringIO()
    with screen_on(stream, width=12, height=3) as screen:
        screen.show(RED, Tally())
    assert "gate" in stream.getvalue()


def test_the_screen_leaves_nothing_behind() -> None:
    stream = io.StringIO()
    with screen_on(stream):
        pass
    assert stream.getvalue().startswith("\x1b[?1049h")
    assert stream.getvalue().endswith("\x1b[?1049l\x1b[?25h")


def test_it_beeps_once_for_green_and_twice_for_all_else() -> None:
    beeps = []
    for outcome in (answer(Verdict.GREEN), answer(Verdict.YELLOW), answer(Verdict.EXPIRED), stale("scan-1")):
        stream = io.StringIO()
        with screen_on(stream, has_beep=True) as screen:
            screen.show(outcome, Tally())
        beeps.append(stream.getvalue().count("\x07"))
    assert beeps == [1, 2, 2, 2]


def test_it_can_be_told_not_to_beep() -> None:
    stream = io.StringIO()
    with screen_on(stream, has_beep=False) as screen:
        screen.show(answer(Verdict.RED), Tally())
    assert "\x07" not in stream.getvalue()
