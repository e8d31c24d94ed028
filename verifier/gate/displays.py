"""What a gate shows where there is no screen: a line of words or of JSON a scan, written out at once."""

import json
from typing import TextIO

from verifier.client import Answer
from verifier.gate.advice import Unanswered, advise
from verifier.gate.tally import Tally
from verifier.wire.status_record import Colour


class Display:
    """Shows a gate to whoever stands or listens there; only showing a scan is required of it."""

    def ready(self, tally: Tally) -> None:
        """Show that the next code may be scanned."""

    def asking(self) -> None:
        """Show that a code was read and the verifier is being asked."""

    def show(self, outcome: Answer | Unanswered, tally: Tally) -> None:
        """Show one scan."""
        raise NotImplementedError

    def redraw(self) -> None:
        """Show the same again: the place to show it may have changed its size."""


class PlainLines(Display):
    """One line of words a scan."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def show(self, outcome: Answer | Unanswered, tally: Tally) -> None:  # noqa: ARG002
        """Write one scan."""
        advice = advise(outcome)
        _write(self._stream, "; ".join((f"{advice.headline}: {advice.instruction}", *advice.details)))


class JsonLines(Display):
    """One JSON object a scan, with the same members each time; null where nothing is known.

    A turnstile needs `open` alone. Members may be added, and keep their meaning.
    """

    def __init__(self, stream: TextIO, *, gate_id: str) -> None:
        self._stream = stream
        self._gate_id = gate_id

    def show(self, outcome: Answer | Unanswered, tally: Tally) -> None:  # noqa: ARG002
        """Write one scan."""
        answer = None if isinstance(outcome, Unanswered) else outcome
        if isinstance(outcome, Unanswered):
            error: str | None = outcome.error
        else:
            error = "UNKNOWN_VERDICT" if outcome.verdict is None else None
        members = {
            "scan_id": outcome.scan_id,
            "gate_id": self._gate_id,
            "open": answer is not None and answer.opens_gate,
            "verdict": answer.verdict.name if answer and answer.verdict else None,
            "colour": answer.colour.name if answer and answer.colour is not Colour.NONE else None,
            "colour_reason": answer.colour_reason if answer and answer.colour is not Colour.NONE else None,
            "last_negative_test": answer.last_negative_test if answer else None,
            "kind": answer.kind.name if answer and answer.kind else None,
            "hint": answer.hint or None if answer else None,
            "code_age_s": answer.code_age_s if answer else None,
            "status_age_ms": answer.status_age_ms if answer else None,
            "verified_at_ms": answer.verified_at_ms if answer else None,
            "entry_scope": answer.entry_scope.name if answer and answer.entry_scope.value else None,
            "advice": advise(outcome).instruction,
            "error": error,
            "detail": "; ".join(advise(outcome).details) if error else None,
        }
        _write(self._stream, json.dumps(members, ensure_ascii=False))


def _write(stream: TextIO, line: str) -> None:
    stream.write(f"{line}\n")
    stream.flush()
