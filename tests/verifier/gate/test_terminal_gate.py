import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from tests.verifier.gate.answers import answer
from verifier.client import Answer, Misuse, NoAnswer
from verifier.gate.advice import Unanswered
from verifier.gate.displays import Display
from verifier.gate.lines import LineReader
from verifier.gate.signals import CaughtSignals
from verifier.gate.tally import Tally
from verifier.gate.terminal_gate import ASK_AGAIN_S, STALE_AFTER_S, run_gate
from verifier.verdict import Verdict

VERDICTS = {b"GREEN": Verdict.GREEN, b"RED": Verdict.RED, b"EXPIRED": Verdict.EXPIRED}


class RecordingDisplay(Display):
    """Writes down what it is told to show."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.outcomes: list[Answer | Unanswered] = []
        self.on_ready: Callable[[], None] = lambda: None

    def ready(self, tally: Tally) -> None:  # noqa: ARG002
        self.events.append("ready")
        self.on_ready()

    def asking(self) -> None:
        self.events.append("asking")

    def show(self, outcome: Answer | Unanswered, tally: Tally) -> None:  # noqa: ARG002
        self.outcomes.append(outcome)
        if isinstance(outcome, Unanswered):
            self.events.append(outcome.error)
        elif outcome.verdict is not None:
            self.events.append(outcome.verdict.name)

    def redraw(self) -> None:
        self.events.append("redraw")


class Bench:
    """A gate with a pipe for a scanner, a verifier that needs no network, and a clock of its own."""

    def __init__(self, signals: CaughtSignals, *, is_live: bool) -> None:
        self.scanner, self._typed = os.pipe()
        self.display = RecordingDisplay()
        self.asked: list[tuple[bytes, str]] = []
        self.ask: Callable[[bytes], None] = lambda _: None
        self.now_s = 100.0
        self._signals = signals
        self._lines = LineReader(self.scanner, wake=signals.wake, silence_s=1.0 if is_live else None)

    def type(self, data: bytes) -> None:
        os.write(self._typed, data)

    def end_input(self) -> None:
        os.close(self._typed)
        self._typed = -1

    def run(self, *, hold_s: float = 60.0) -> Tally:
        return run_gate(
            ask=self._verify,
            lines=self._lines,
            display=self.display,
            signals=self._signals,
            hold_s=hold_s,
            monotonic=lambda: self.now_s,
        )

    def close(self) -> None:
        os.close(self.scanner)
        if self._typed >= 0:
            os.close(self._typed)

    def _verify(self, qr_text: bytes, scan_id: str) -> Answer:
        self.asked.append((qr_text, scan_id))
        self.ask(qr_text)
        return replace(answer(VERDICTS[qr_text]), scan_id=scan_id)


@pytest.fixture
def signals() -> Iterator[CaughtSignals]:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # also when the tests run under nohup
    with CaughtSignals() as signals:
        yield signals
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def bench(signals: CaughtSignals) -> Iterator[Bench]:
    bench = Bench(signals, is_live=False)
    yield bench
    bench.close()


@pytest.fixture
def live_bench(signals: CaughtSignals) -> Iterator[Bench]:
    bench = Bench(signals, is_live=True)
    yield bench
    bench.close()


def fail(error: Exception) -> Callable[[bytes], None]:
    def ask(_qr_text: bytes) -> None:
        raise error

    return ask


def test_every_line_is_asked_about_and_shown(bench: Bench) -> None:
    bench.type(b"GREEN\r\nRED\n\nEXPIRED")
    bench.end_input()
    tally = bench.run()
    assert bench.display.events == ["ready", "asking", "GREEN", "asking", "RED", "asking", "EXPIRED"]
    assert tally == Tally(green=1, refused=2, no_answer=0)


def test_each_presentation_has_a_scan_id_of_its_own(bench: Bench) -> None:
    bench.type(b"GREEN\nGREEN\n")
    bench.end_input()
    bench.run()
    assert len({scan_id for _, scan_id in bench.asked}) == 2


@pytest.mark.parametrize(
    "error", [NoAnswer("gone", status="UNAVAILABLE"), Misuse("bad", status="INVALID_ARGUMENT")]
)
def test_a_gate_goes_on_after_a_scan_without_an_answer(bench: Bench, error: NoAnswer | Misuse) -> None:
    bench.ask = fail(error)
    bench.type(b"GREEN\nGREEN\n")
    bench.end_input()
    assert bench.run() == Tally(no_answer=2)
    assert bench.display.events == ["ready", *["asking", error.status] * 2]


def test_a_scan_without_an_answer_is_shown_under_its_own_id(bench: Bench) -> None:
    bench.ask = fail(NoAnswer("gone", status="UNAVAILABLE"))
    bench.type(b"GREEN\n")
    bench.end_input()
    bench.run()
    assert bench.display.outcomes[0].scan_id == bench.asked[0][1]


def test_a_code_without_an_answer_is_asked_about_again_as_the_same_scan_until_there_is_one(
    bench: Bench,
) -> None:
    outcomes = iter([False, True, False, True, True])  # RED is asked about in between

    def ask(_qr_text: bytes) -> None:
        if not next(outcomes):
            raise NoAnswer("gone", status="DEADLINE_EXCEEDED")

    bench.ask = ask
    bench.type(b"GREEN\nRED\nGREEN\nGREEN\nGREEN\n")
    bench.end_input()
    bench.run()
    first, red, second, third, fourth = (scan_id for _, scan_id in bench.asked)
    assert first == second == third
    assert len({first, red, fourth}) == 3


def test_a_code_that_comes_back_long_after_it_got_no_answer_is_another_scan(bench: Bench) -> None:
    def ask(_qr_text: bytes) -> None:
        bench.now_s += ASK_AGAIN_S / 2
        if len(bench.asked) == 1:
            raise NoAnswer("gone", status="DEADLINE_EXCEEDED")

    bench.ask = ask
    bench.type(b"GREEN\nRED\nRED\nGREEN\n")
    bench.end_input()
    bench.run()
    assert bench.asked[0][1] != bench.asked[3][1]


def test_a_gate_is_ready_again_by_itself(bench: Bench) -> None:
    bench.type(b"GREEN\n")
    bench.ask = lambda _: setattr(bench.display, "on_ready", bench.end_input)
    # The verdict was shown at 100 s for no time at all, so the next look at the clock ends it.
    bench.run(hold_s=0.0)
    assert bench.display.events == ["ready", "asking", "GREEN", "ready"]


def test_a_scan_need_not_wait_for_the_last_verdict_to_go(bench: Bench) -> None:
    bench.type(b"GREEN\nRED\n")
    bench.end_input()
    bench.run(hold_s=3_600.0)
    assert bench.display.events == ["ready", "asking", "GREEN", "asking", "RED"]


def test_what_was_scanned_while_an_answer_took_long_is_not_asked_about(live_bench: Bench) -> None:
    def ask(_qr_text: bytes) -> None:
        live_bench.now_s += STALE_AFTER_S + 0.01
        live_bench.ask = lambda _: live_bench.end_input()

    live_bench.ask = ask
    live_bench.type(b"GREEN\nGREEN\nRED\n")
    live_bench.display.on_ready = lambda: live_bench.type(b"EXPIRED\n")
    tally = live_bench.run(hold_s=0.0)
    assert [text for text, _ in live_bench.asked] == [b"GREEN", b"EXPIRED"]
    assert tally == Tally(green=1, refused=1, no_answer=3)


def test_what_was_scanned_while_an_answer_was_quick_is_asked_about(live_bench: Bench) -> None:
    def ask(_qr_text: bytes) -> None:
        live_bench.now_s += STALE_AFTER_S

    live_bench.ask = ask
    live_bench.type(b"GREEN\nRED\n")
    live_bench.end_input()
    assert live_bench.run() == Tally(green=1, refused=1)


def test_waiting_behind_many_quick_answers_is_waiting_too(live_bench: Bench) -> None:
    def ask(_qr_text: bytes) -> None:
        live_bench.now_s += 0.6

    live_bench.ask = ask
    live_bench.type(b"GREEN\n" * 6)
    live_bench.end_input()
    assert live_bench.run() == Tally(green=2, no_answer=4)


def test_what_a_program_sends_is_asked_about_however_long_it_took(bench: Bench) -> None:
    def ask(_qr_text: bytes) -> None:
        bench.now_s += 60

    bench.ask = ask
    bench.type(b"GREEN\nRED\n")
    bench.end_input()
    assert bench.run() == Tally(green=1, refused=1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_gate_that_waits(bench: Bench, number: signal.Signals) -> None:
    bench.display.on_ready = lambda: signal.raise_signal(number)
    assert bench.run() == Tally()


def test_a_scan_under_way_is_still_shown_when_a_signal_comes(bench: Bench) -> None:
    bench.type(b"GREEN\nGREEN\n")
    bench.ask = lambda _: signal.raise_signal(signal.SIGTERM)
    assert bench.run() == Tally(green=1)
    assert bench.display.events[-1] == "GREEN"


def test_another_size_of_the_terminal_is_drawn_at_once(bench: Bench) -> None:
    bench.type(b"GREEN\n")
    bench.ask = lambda _: signal.raise_signal(signal.SIGWINCH)
    bench.display.redraw = lambda: signal.raise_signal(signal.SIGTERM)  # type: ignore[method-assign]
    assert bench.run() == Tally(green=1)


def test_signals_are_as_they_were_after_a_gate() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGWINCH)]
    with CaughtSignals():
        pass
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGWINCH)] == before


def test_a_gate_under_nohup_outlives_its_terminal() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with CaughtSignals() as signals:
        signal.raise_signal(signal.SIGHUP)
        assert not signals.stopped
    signal.signal(signal.SIGHUP, before)
