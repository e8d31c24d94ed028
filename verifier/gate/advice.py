"""What staff should do about a scan, in words. Pure: the time is the verifier's own, from its answer."""

from dataclasses import dataclass
from enum import Enum

from verifier.client import Answer, EntryScope, VerifierClientError
from verifier.verdict import Verdict
from verifier.wire.code import CredentialKind
from verifier.wire.status_record import Colour

# A code shows on a phone at some moment of its window of 60 s, so its age is the error of the phone's
# clock give or take half of that.
_HALF_WINDOW_S = 30
# No phone's clock is wrong by this much unnoticed; a screenshot may well be this old.
_OLD_CODE_S = 24 * 3_600
# The heartbeat of the status feed is one second; a few may be late.
_FRESH_STATUS_MS = 5_000

_KINDS = {CredentialKind.PHONE: "phone", CredentialKind.PAPER: "printed card"}


class Mood(Enum):
    """How a gate shows a scan: the three colours are kept for holders, never for codes."""

    GREEN = "green"
    YELLOW = "yellow"
    RED = "red"
    REFUSED = "refused"
    NO_ANSWER = "no answer"


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A scan on which there is no verdict."""

    scan_id: str
    error: str  # the name of a gRPC status code, or STALE
    message: str


@dataclass(frozen=True, slots=True)
class Advice:
    """What a gate shows of one scan. All texts are printable and stand on one line."""

    mood: Mood
    headline: str
    instruction: str
    details: tuple[str, ...]


def unanswered(scan_id: str, error: VerifierClientError) -> Unanswered:
    """Return what an error of the client means for a scan."""
    return Unanswered(scan_id, error.status, str(error))


def stale(scan_id: str) -> Unanswered:
    """Return what becomes of a scan that waited behind a slow one: its holder may have walked on."""
    return Unanswered(scan_id, "STALE", "scanned while another scan was waiting: scan again")


def advise(outcome: Answer | Unanswered) -> Advice:
    """Return the advice on one scan."""
    if isinstance(outcome, Unanswered):
        details = (_printable(outcome.message),)
        return Advice(Mood.NO_ANSWER, "NO ANSWER", "keep the gate closed", details)
    if outcome.verdict is None:
        details = ("the verifier sent a verdict that this gate is too old to know",)
        return Advice(Mood.NO_ANSWER, "NO ANSWER", "keep the gate closed", details)
    return Advice(
        _MOODS.get(outcome.verdict, Mood.REFUSED),
        outcome.verdict.name.replace("_", " "),
        _instruction(outcome, outcome.verdict),
        tuple(_details(outcome)),
    )


_MOODS = {Verdict.GREEN: Mood.GREEN, Verdict.YELLOW: Mood.YELLOW, Verdict.RED: Mood.RED}

_INSTRUCTIONS = {
    Verdict.GREEN: "may pass",
    Verdict.YELLOW: "do not let pass: call the person in charge",
    Verdict.RED: "do not let pass: call the person in charge",
    Verdict.MALFORMED: "not a code of ours: ask for the right code, or scan again",
    Verdict.UNKNOWN_KEY: "signed with a key that is not in force: ask for a new code",
    Verdict.BAD_SIGNATURE: "forged or tampered with: call the person in charge",
    Verdict.SUSPENDED: "suspended for now: send to the help desk",
    Verdict.REVOKED: "revoked for good: send to the help desk",
    Verdict.NO_STATUS: "authentic, but nothing is known of the holder yet: send to the help desk",
    Verdict.ALREADY_USED: "this code has let somebody in already: ask for the next one",
    Verdict.STATUS_TOO_OLD: "the verifier's status is too old to open on: tell the operator",
}


def _instruction(answer: Answer, verdict: Verdict) -> str:
    match verdict:
        case Verdict.NOT_YET_VALID:
            return _not_yet_valid(answer)
        case Verdict.EXPIRED:
            return _expired(answer)
        case Verdict.REPLACED if answer.kind is CredentialKind.PAPER:
            return "replaced by a newer card: ask for the new card"
        case Verdict.REPLACED:
            return "replaced by a newer code: ask for the holder's new phone"
        case Verdict.TEST_TOO_OLD if answer.last_negative_test is None:
            return "no negative test is known: ask for a test"
        case Verdict.TEST_TOO_OLD:
            return "the last negative test is too old: ask for a new one"
        case Verdict.ALREADY_USED if answer.kind is CredentialKind.PAPER:
            return "this card has let somebody in already: call the person in charge"
        case Verdict.GREEN if answer.colour is Colour.YELLOW:
            return "may pass: yellow, which is let pass here"
        case _:
            return _INSTRUCTIONS[verdict]


def _not_yet_valid(answer: Answer) -> str:
    begins_in_s = -(answer.code_age_s or 0)
    if answer.kind is CredentialKind.PAPER:
        return f"the card is not valid for another {_duration(begins_in_s)}"
    return f"phone clock is {_clock_error(begins_in_s + _HALF_WINDOW_S)} fast: have it set, and scan again"


def _expired(answer: Answer) -> str:
    age_s = answer.code_age_s or 0
    if answer.kind is CredentialKind.PAPER:
        return "the card is out of date: ask for a new one"
    if age_s >= _OLD_CODE_S:
        return f"a screenshot, {_duration(age_s)} old: ask for the live code"
    return (
        f"phone clock is {_clock_error(age_s - _HALF_WINDOW_S)} slow, or a screenshot: ask for the live code"
    )


def _details(answer: Answer) -> list[str]:
    details = []
    if answer.hint:
        details.append(f"compare the name: {_printable(answer.hint)}")
    if answer.kind is not None:
        details.append(_KINDS[answer.kind])
    if answer.colour_reason:
        details.append(f"reason {answer.colour_reason}")
    if answer.last_negative_test is not None:
        age_s = answer.verified_at_ms // 1_000 - answer.last_negative_test
        details.append(f"last negative test {_duration(age_s)} ago")
    if answer.status_age_ms > _FRESH_STATUS_MS:
        age = _duration(answer.status_age_ms // 1_000)
        details.append(f"status is {age} old: the verifier hears nothing from the issuer")
    if answer.entry_scope is EntryScope.VERIFIER:
        details.append("earlier entries were looked for at this verifier alone")
    return details


def _clock_error(seconds: int) -> str:
    # A verdict tells nothing finer than a minute.
    return _duration(max(60, seconds))


def _duration(seconds: int) -> str:
    """Return the nearest round duration; a negative one, from a clock that is ahead, counts as none."""
    seconds = max(0, seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 90 * 60:
        return f"{(seconds + 30) // 60} min"
    if seconds < 36 * 3_600:
        return f"{(seconds + 1_800) // 3_600} h"
    return f"{(seconds + 43_200) // 86_400} days"


def _printable(text: str) -> str:
    """Return the text without what could steer a terminal or turn its line around."""
    return "".join(character if character.isprintable() else "?" for character in text)
