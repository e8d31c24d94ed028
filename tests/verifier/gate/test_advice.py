import pytest

from tests.verifier.gate.answers import NOW, answer
from verifier.client import EntryScope, NoAnswer
from verifier.gate.advice import Mood, advise, stale, unanswered
from verifier.verdict import Verdict
from verifier.wire.code import CredentialKind
from verifier.wire.status_record import Colour

PHONE, PAPER = CredentialKind.PHONE, CredentialKind.PAPER


@pytest.mark.parametrize("kind", [PHONE, PAPER, None])
@pytest.mark.parametrize("verdict", Verdict)
def test_there_is_advice_on_every_verdict(verdict: Verdict, kind: CredentialKind | None) -> None:
    advice = advise(answer(verdict, kind))
    assert advice.headline == verdict.name.replace("_", " ")
    assert advice.instruction


@pytest.mark.parametrize("verdict", Verdict)
def test_only_green_may_pass(verdict: Verdict) -> None:
    advice = advise(answer(verdict))
    assert (advice.instruction == "may pass") is (verdict is Verdict.GREEN)
    assert (advice.mood is Mood.GREEN) is (verdict is Verdict.GREEN)


def test_a_refused_code_has_none_of_the_three_colours() -> None:
    moods = {advise(answer(verdict)).mood for verdict in Verdict if verdict > Verdict.RED}
    assert moods == {Mood.REFUSED}


def test_a_verdict_that_is_not_known_keeps_the_gate_closed() -> None:
    advice = advise(answer(None))
    assert (advice.mood, advice.instruction) == (Mood.NO_ANSWER, "keep the gate closed")


def test_no_answer_keeps_the_gate_closed_and_says_why() -> None:
    advice = advise(unanswered("scan-1", NoAnswer("it did not answer", status="UNAVAILABLE")))
    assert (advice.headline, advice.instruction) == ("NO ANSWER", "keep the gate closed")
    assert advice.details == ("it did not answer",)


def test_a_scan_that_came_too_late_to_be_asked_about_is_to_be_repeated() -> None:
    assert "scan again" in advise(stale("scan-1")).details[0]


@pytest.mark.parametrize("shown_after_s", [0, 15, 30, 45, 59])
def test_a_phone_whose_clock_is_four_minutes_slow_is_told_so(shown_after_s: int) -> None:
    advice = advise(answer(Verdict.EXPIRED, code_age_s=240 + shown_after_s))
    assert advice.instruction == "phone clock is 4 min slow, or a screenshot: ask for the live code"


@pytest.mark.parametrize("shown_after_s", [1, 15, 30, 45, 59])
def test_a_phone_whose_clock_is_four_minutes_fast_is_told_so(shown_after_s: int) -> None:
    advice = advise(answer(Verdict.NOT_YET_VALID, code_age_s=-240 + shown_after_s))
    assert advice.instruction == "phone clock is 4 min fast: have it set, and scan again"


def test_the_error_of_a_clock_is_never_under_a_minute() -> None:
    assert "1 min slow" in advise(answer(Verdict.EXPIRED, code_age_s=90)).instruction
    assert "1 min fast" in advise(answer(Verdict.NOT_YET_VALID, code_age_s=-31)).instruction


def test_a_code_of_yesterday_is_a_screenshot() -> None:
    assert "phone clock is 24 h slow" in advise(answer(Verdict.EXPIRED, code_age_s=86_399)).instruction
    assert advise(answer(Verdict.EXPIRED, code_age_s=86_400)).instruction.startswith("a screenshot, 24 h old")


def test_an_old_card_is_out_of_date() -> None:
    advice = advise(answer(Verdict.EXPIRED, PAPER, code_age_s=200 * 86_400))
    assert advice.instruction == "the card is out of date: ask for a new one"


def test_a_card_for_later_says_when() -> None:
    advice = advise(answer(Verdict.NOT_YET_VALID, PAPER, code_age_s=-3 * 86_400))
    assert advice.instruction == "the card is not valid for another 3 days"


def test_who_shows_a_replaced_card_is_asked_for_the_new_card() -> None:
    assert "ask for the new card" in advise(answer(Verdict.REPLACED, PAPER)).instruction


def test_who_shows_a_replaced_phone_is_asked_for_the_new_phone() -> None:
    assert "new phone" in advise(answer(Verdict.REPLACED, PHONE)).instruction


def test_a_test_that_is_not_known_is_not_called_old() -> None:
    assert "no negative test is known" in advise(answer(Verdict.TEST_TOO_OLD)).instruction
    known = answer(Verdict.TEST_TOO_OLD, last_negative_test=NOW - 3 * 86_400)
    assert "too old" in advise(known).instruction


def test_staff_see_name_kind_reason_and_test() -> None:
    shown = answer(
        Verdict.RED,
        PAPER,
        hint="王*秀",
        colour_reason=17,
        last_negative_test=NOW - 14 * 3_600,
        colour=Colour.RED,
    )
    assert advise(shown).details == (
        "compare the name: 王*秀",
        "printed card",
        "reason 17",
        "last negative test 14 h ago",
    )


def test_a_name_cannot_steer_the_terminal() -> None:
    shown = answer(Verdict.GREEN, hint="\x1b[2J王\n\u202e秀\x07")
    assert advise(shown).details[0] == "compare the name: ?[2J王??秀?"


@pytest.mark.parametrize(("age_ms", "is_told"), [(4_999, False), (5_000, False), (5_001, True)])
def test_old_status_is_told_from_five_seconds_on(age_ms: int, is_told: bool) -> None:
    details = advise(answer(Verdict.GREEN, status_age_ms=age_ms)).details
    assert ("status is 5 s old: the verifier hears nothing from the issuer" in details) is is_told


@pytest.mark.parametrize(
    ("age_s", "words"),
    [
        (-600, "0 s"),  # a test from a clock that is ahead
        (59, "59 s"),
        (60, "1 min"),
        (89, "1 min"),
        (90, "2 min"),
        (5_399, "90 min"),
        (5_400, "2 h"),
        (129_599, "36 h"),
        (129_600, "2 days"),
    ],
)
def test_durations_are_round(age_s: int, words: str) -> None:
    details = advise(answer(Verdict.GREEN, last_negative_test=NOW - age_s)).details
    assert f"last negative test {words} ago" in details


def test_a_code_that_has_let_somebody_in_asks_for_the_next_one_and_a_card_for_the_person_in_charge() -> None:
    assert "ask for the next one" in advise(answer(Verdict.ALREADY_USED, PHONE)).instruction
    assert "call the person in charge" in advise(answer(Verdict.ALREADY_USED, PAPER)).instruction


def test_a_yellow_that_is_let_pass_here_is_called_yellow() -> None:
    advice = advise(answer(Verdict.GREEN, colour=Colour.YELLOW))
    assert (advice.mood, advice.instruction) == (Mood.GREEN, "may pass: yellow, which is let pass here")


def test_staff_are_told_where_earlier_entries_were_looked_for_at_one_verifier_alone() -> None:
    words = "earlier entries were looked for at this verifier alone"
    for scope in EntryScope:
        details = advise(answer(Verdict.GREEN, entry_scope=scope)).details
        assert (words in details) is (scope is EntryScope.VERIFIER)
