"""The terminal gate's loop: read a line, ask the verifier, show the verdict, be ready again."""

import time
from collections import deque
from collections.abc import Callable

from verifier.client import Answer, VerifierClientError, new_scan_id
from verifier.gate.advice import Unanswered, stale, unanswered
from verifier.gate.displays import Display
from verifier.gate.lines import EndOfInput, LineReader
from verifier.gate.signals import CaughtSignals
from verifier.gate.tally import Tally

# Whoever waited longer than this behind others may have walked on, and a green would open for somebody
# else. Such scans are answered without being asked about.
STALE_AFTER_S = 1.0
# A code that got no answer and is held under the scanner again within this time is the same scan: the
# verifier may have let it in, and only its answer got lost.
ASK_AGAIN_S = 10.0


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
    asking = _Asking(ask, monotonic)
    display.ready(tally)
    ready_at: float | None = None  # when the verdict has been shown for long enough; None: it is ready
    scanned: deque[tuple[bytes, float]] = deque()  # and since when each is known to wait
    while not signals.stopped:
        if not scanned:
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
            scanned.append((line, monotonic()))
            _take_waiting(lines, scanned, monotonic())
        line, waits_since = scanned.popleft()
        asked_at = monotonic()
        outcome: Answer | Unanswered
        if lines.is_live and asked_at - waits_since > STALE_AFTER_S:
            outcome = stale(new_scan_id())
        else:
            display.asking()
            outcome = asking.outcome(line)
            # What came meanwhile came at some moment since: after a long answer, count from its beginning.
            is_slow = monotonic() - asked_at > STALE_AFTER_S
            _take_waiting(lines, scanned, asked_at if is_slow else monotonic())
        tally.count(outcome)
        display.show(outcome, tally)
        ready_at = monotonic() + hold_s
    return tally


def _take_waiting(lines: LineReader, scanned: deque[tuple[bytes, float]], since: float) -> None:
    if lines.is_live:  # a program may send faster than we ask, and has nobody who walks on
        scanned.extend((line, since) for line in lines.waiting())


class _Asking:
    """Asks about texts, and remembers the last one without an answer, with the scan_id that it had."""

    def __init__(self, ask: Callable[[bytes, str], Answer], monotonic: Callable[[], float]) -> None:
        self._ask = ask
        self._monotonic = monotonic
        self._unanswered: tuple[bytes, str] | None = None
        self._forget_at = 0.0

    def outcome(self, line: bytes) -> Answer | Unanswered:
        scan_id = self._scan_id(line)
        try:
            return self._ask(line, scan_id)
        except VerifierClientError as error:
            self._unanswered = line, scan_id
            self._forget_at = self._monotonic() + ASK_AGAIN_S
            return unanswered(scan_id, error)

    def _scan_id(self, line: bytes) -> str:
        if self._unanswered is not None:
            text, scan_id = self._unanswered
            is_over = self._monotonic() >= self._forget_at
            if is_over or text == line:
                self._unanswered = None
            if text == line and not is_over:
                return scan_id
        return new_scan_id()
