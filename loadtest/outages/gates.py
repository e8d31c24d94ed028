"""Honest gates: scans due at an even pace, whatever becomes of those before, each with its right verdict.

They use the client that is the product's, with its deadline and its retries, so that what fails here is what
a person at a gate would have met. Of ten calls one is a gate hub's batch, and one is at a gate where a code
opens once: it is shown there again at once, and must not open.
"""

import math
import queue
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial

from loadtest.corpus import Corpus
from loadtest.corpus_file import Scan
from loadtest.latency import Latencies
from loadtest.mix import GATE
from loadtest.outages.scene import KEPT_BACK, Scene
from loadtest.specimens import Enrolled, Population
from verifier.client import Answer, EntryScope, VerifierClient, VerifierClientError
from verifier.verdict import Verdict

BATCH = 20
_TURNS = 10
_BATCH_TURN, _ONCE_TURN = 0, 5
# A call has 2 s, and its error a second more.
_LONGEST_CALL_S = 3
_MOST_WAITING = 10_000
# Enough for two calls, one after the other, and for what waits because all threads wait.
SETTLED_S = 10.0
_LOOK_S = 0.005
# Why there is no verdict, where it is no gRPC status: the call raised what it may not, or has not come back.
_UNFORESEEN, _UNFINISHED = "UNFORESEEN", "UNFINISHED"
# Different people of each kind whose codes are shown.
_PEOPLE = 2_000
_SCANS = 1_000


@dataclass(slots=True)
class Phase:
    """What came of the scans that were due in one part of a trial."""

    latencies: Latencies = field(default_factory=Latencies)
    right: int = 0
    wrong: Counter[tuple[str, str]] = field(default_factory=Counter)  # by verdict expected and got
    # No verdict at all, by gRPC status, or UNFORESEEN with the exception's type, or UNFINISHED.
    failed: Counter[str] = field(default_factory=Counter)
    oldest_status_s: float = 0.0
    # Of these, what was right and says more than that a text is no code; but for those that were answered
    # when the next part had begun.
    known_in_time: int = 0
    is_over: bool = False
    # A code that is shown twice is due once.
    scans_due: int = 0
    scans_done: int = 0

    @property
    def scans(self) -> int:
        """How many were due, and are answered or given up."""
        return self.right + self.wrong.total() + self.failed.total()

    def add(self, other: "Phase") -> None:
        """Count what came of other gates' scans as well; both are over."""
        self.latencies.add(other.latencies)
        self.right += other.right
        self.wrong += other.wrong
        self.failed += other.failed
        self.oldest_status_s = max(self.oldest_status_s, other.oldest_status_s)
        self.known_in_time += other.known_in_time


class Gates:
    """Scans all the time, from start() to stop(), and counts by phase."""

    def __init__(
        self,
        connect: Callable[[], VerifierClient],
        scans: Sequence[Scan],
        *,
        rate: float,
        connect_once: Callable[[], VerifierClient] | None = None,
        codes_for_once: Iterator[bytes] | None = None,
        knows_several: bool = False,
        settled_s: float = SETTLED_S,
    ) -> None:
        """Ask `rate` calls a second over one client that `connect` makes; `scans` come again and again.

        With `connect_once`, the client of a gate where a code opens once, each of `codes_for_once` is shown
        there twice. `knows_several`: gates go from one verifier to another; while Redis is away, a code opens
        once at each. A call that is not over `settled_s` seconds after its phase has failed.
        """
        self._knows_several = knows_several
        self._settled_s = settled_s
        self._connect, self._connect_once = connect, connect_once
        self._scans = scans
        self._codes_for_once = codes_for_once
        self._rate = rate
        self._phase = Phase()
        self._due: queue.Queue[tuple[float, int, Phase] | None] = queue.Queue(_MOST_WAITING)
        self._counting = threading.Lock()
        self._ending = threading.Event()
        self._clients = ExitStack()
        self._pacing = threading.Thread(target=self._pace, daemon=True)
        self._threads = [
            threading.Thread(target=self._ask_all, daemon=True)
            for _ in range(math.ceil(rate * _LONGEST_CALL_S))
        ]
        self.missed = 0  # by ourselves: the queue was full

    def start(self) -> None:
        """Begin."""
        self._client = self._clients.enter_context(self._connect())
        if self._connect_once is not None:
            self._once = self._clients.enter_context(self._connect_once())
        for thread in (*self._threads, self._pacing):
            thread.start()

    def begin_phase(self) -> Phase:
        """Count the scans that are due from now on in a phase of their own, and return it."""
        with self._counting:
            self._phase.is_over = True
            self._phase = phase = Phase()
        return phase

    def settle(self, phases: Sequence[Phase]) -> None:
        """Return when the scans of these phases, which are over, have their answers or none.

        To be called once for each phase: what has not come back then has failed.
        """
        deadline = time.monotonic() + self._settled_s
        while any(phase.scans_done < phase.scans_due for phase in phases) and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
        with self._counting:
            for phase in phases:
                if unfinished := phase.scans_due - phase.scans_done:
                    phase.failed[_UNFINISHED] += unfinished

    def stop(self) -> None:
        """Return when the last scan that was due has its answer, or is given up."""
        self._ending.set()
        self._pacing.join()
        for _ in self._threads:
            self._due.put(None)
        deadline = time.monotonic() + self._settled_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._clients.close()

    def _pace(self) -> None:
        begun_at_s, number = time.monotonic(), 0
        while True:
            due_at_s = begun_at_s + number / self._rate
            if self._ending.wait(max(0.0, due_at_s - time.monotonic())):
                return
            with self._counting:
                phase = self._phase
                phase.scans_due += _count_of(number)
            try:
                self._due.put_nowait((due_at_s, number, phase))
            except queue.Full:
                self.missed += 1
                with self._counting:
                    phase.scans_due -= _count_of(number)
            number += 1

    def _ask_all(self) -> None:
        while (due := self._due.get()) is not None:
            due_at_s, number, phase = due
            count = _count_of(number)
            try:
                if number % _TURNS == _ONCE_TURN and self._codes_for_once is not None:
                    self._ask_once(self._codes_for_once, due_at_s, phase)
                else:
                    shown = [self._scans[(number * BATCH + one) % len(self._scans)] for one in range(count)]
                    self._ask(self._client, shown, due_at_s, phase)
            except Exception as error:  # noqa: BLE001 - whatever it is, nobody got a verdict, and others scan on
                with self._counting:
                    phase.failed[f"{_UNFORESEEN} {type(error).__name__}"] += count
            finally:
                with self._counting:
                    phase.scans_done += count

    def _ask_once(self, codes: Iterator[bytes], due_at_s: float, phase: Phase) -> None:
        with self._counting:
            qr_text = next(codes)
        answers = self._ask(self._once, [Scan(qr_text, Verdict.GREEN, "once")], due_at_s, phase)
        if not answers:
            return
        if self._knows_several and answers[0].entry_scope is EntryScope.VERIFIER:
            return  # it said itself that no other verifier knows: it may open once more, at one of them
        shown_again = Scan(qr_text, Verdict.ALREADY_USED, "once")
        self._ask(self._once, [shown_again], time.monotonic(), phase)

    def _ask(
        self, client: VerifierClient, shown: Sequence[Scan], due_at_s: float, phase: Phase
    ) -> Sequence[Answer]:
        """Return the answers, none without a verdict; what it may not raise goes through, uncounted."""
        try:
            if len(shown) == 1:
                answers = [client.verify(shown[0].qr_text)]
            else:
                answers = client.verify_many(scan.qr_text for scan in shown)
        except VerifierClientError as error:
            with self._counting:
                phase.failed[error.status] += len(shown)
            return ()
        took_s = time.monotonic() - due_at_s
        answered = list(zip(shown, answers, strict=True))
        with self._counting:
            phase.latencies.record(took_s, len(shown))
            for scan, answer in answered:
                _count(phase, scan, answer, knows_several=self._knows_several)
        return answers


def _count_of(number: int) -> int:
    """Return how many scans the call of that number has."""
    return BATCH if number % _TURNS == _BATCH_TURN else 1


def _count(phase: Phase, scan: Scan, answer: Answer, *, knows_several: bool) -> None:
    phase.oldest_status_s = max(phase.oldest_status_s, answer.status_age_ms / 1e3)
    opens_elsewhere = (
        knows_several
        and (scan.verdict, answer.verdict) == (Verdict.ALREADY_USED, Verdict.GREEN)
        and answer.entry_scope is EntryScope.VERIFIER
    )
    if answer.verdict is not scan.verdict and not opens_elsewhere:
        got = answer.verdict.name if answer.verdict else "UNSPECIFIED"
        phase.wrong[scan.verdict.name, got] += 1
        return
    phase.right += 1
    if not phase.is_over and answer.verdict is not Verdict.MALFORMED:
        phase.known_in_time += 1


@contextmanager
def gates_of(scene: Scene, *, rate: float) -> Iterator[Mapping[str, Gates]]:
    """Have honest people scan at each engine's verifiers, `rate` calls a second; yield them, by engine."""
    scans = _honest_scans(scene)
    gates = {
        engine: Gates(
            partial(scene.gate, engine),
            scans,
            rate=rate,
            connect_once=partial(scene.gate, engine, opens_once=True),
            codes_for_once=scene.codes_for_once(engine),
            knows_several=scene.is_side_by_side,
        )
        for engine in scene.engines
    }
    with ExitStack() as stack:
        for one in gates.values():
            one.start()
            stack.callback(one.stop)
        yield gates


def _honest_scans(scene: Scene) -> Sequence[Scan]:
    file = scene.city.file
    groups = {verdict: _who_come(people) for verdict, people in file.people.groups().items()}
    anybody = [one for group in groups.values() for one in group]
    now = int(time.time())
    corpus = Corpus(key=file.key(), population=anybody, groups=groups, rng=random.Random(1))
    return list(corpus.scans(_SCANS, mix=GATE, good_from=now - 60, good_until=now + scene.codes_good_s))


def _who_come(people: Population) -> Sequence[Enrolled]:
    """Return some of these people, none of whom is kept back."""
    some = (people[number] for number in range(min(len(people), _PEOPLE + KEPT_BACK)))
    return [one for one in some if one.credential_index >= KEPT_BACK]
