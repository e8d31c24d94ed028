"""The terminal gate's loop: read a line, ask the verifier, show the verdict, be ready again."""

import time
from collections.abc import Callable

from verifier.client import Answer, VerifierClientError, new_scan_id
from verifier.gate.advice import Unanswered, stale, unanswered
from verifier.gate.displays import Display
from verifier.gate.lines import EndOfInput, LineReader
from verifier.gate.signals import CaughtSignals
from verifier.gate.tally import Tally

# When an answer took longer than this, whoever was scanned meanwhile may have walked on, and a green
# would open for somebody else. Such scans are answered without being asked about.
STALE_AFTER_S = 1.0


def run_gate(
    *,
    ask: Callable[[bytes, str], Answer],
    lines: LineReader,
    display: Display,
    signals: CaughtSignals,
    hold_s: float,
    monotonic: Callable[[], float] = time.monotonic,
) -> Tally:
    """Serve one gate until its input ends or a signal asks to stop; return the counts.

    A verdict stays for `hold_s` seconds. `ask` takes a QR text and a scan_id and may raise
    VerifierClientError: the scan then counts as one without an answer, and the gate goes on. A scan under
    way when a signal comes is still answered.
    """
    tally = Tally()
    display.ready(tally)
    ready_at: float | None = None  # when the verdict has been shown for long enough; None: it is ready
    while not signals.stopped:
        try:
            line = lines.read(None if ready_at is None else max(0.0, ready_at - monotonic()))
        except EndOfInput:
            break
        if line is None:
            signals.clear()
            if ready_at is not None and monotonic() >= ready_at:
                ready_at = None
                display.ready(tally)
            else:
                display.redraw()
            continue
        display.asking()
        asked_at = monotonic()
        outcomes = [_outcome(ask, line)]
        if lines.is_live and monotonic() - asked_at > STALE_AFTER_S:
            outcomes += (stale(new_scan_id()) for _ in lines.waiting())
        for outcome in outcomes:
            tally.count(outcome)
            display.show(outcome, tally)
        ready_at = monotonic() + hold_s
    return tally


def _outcome(ask: Callable[[bytes, str], Answer], line: bytes) -> Answer | Unanswered:
    scan_id = new_scan_id()
    try:
        return ask(line, scan_id)
    except VerifierClientError as error:
        return unanswered(scan_id, error)
