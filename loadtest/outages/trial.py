"""One fault, from before to after.

before    the gates scan, and no sign of the fault is there
striking  until it is there
during    until it was noticed, and as long as it is to last
ending    what the healing begins with is done; the cause is still there
healing   until it is gone: the signs as well, and a change of status made since has come to every verifier
after     the gates go on
"""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import grpc
import psutil
import redis

from issuer.errors import CacheMismatch
from loadtest.latency import Latencies
from loadtest.outages.fault import Fault
from loadtest.outages.gates import Gates, Phase
from loadtest.outages.scene import Metrics, Scene, Verifier
from loadtest.processes import ProcessError
from verifier.client import VerifierClientError
from verifier.verdict import Verdict
from verifier.wire.status_record import Colour

# How often metrics are looked at.
LOOK_S = 0.1
_CHANGE_LOOK_S = 0.01
# Nobody waits longer for a verifier to say what it has, or to be as it was.
MOST_WAIT_S = 30.0
# A change is lost when all is written anew right behind it: after so long it is made again.
_CHANGE_AGAIN_S = 5.0
# Gates try to connect at least every 1.2 s (verifier/client.py, with gRPC's jitter).
_CONNECTED_S = 1.5
_CLOSED = grpc.StatusCode.UNAVAILABLE.name
_NOBODY_LISTENS = grpc.StatusCode.DEADLINE_EXCEEDED.name
_SERVER_ENDS = grpc.StatusCode.CANCELLED.name
# Who was kept waiting by one verifier that went away comes to the other at once, all with one key.
_TOO_MANY = grpc.StatusCode.RESOURCE_EXHAUSTED.name


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a fault on one engine."""

    fault: Fault
    engine: str
    before: Phase
    striking: Phase
    during: Phase
    ending: Phase
    healing: Phase
    after: Phase
    was_well: bool  # nothing was to be seen of the fault before it was there
    noticed_after_s: float | None  # from the strike until metrics said so; None: they did not, or need not
    recovered_after_s: float | None  # from the healing until it was gone; None: it was not

    @property
    def phases(self) -> Sequence[Phase]:
        """All parts, in their order."""
        return self.before, self.striking, self.during, self.ending, self.healing, self.after

    @property
    def scans(self) -> int:
        """How many there were."""
        return sum(phase.scans for phase in self.phases)

    @property
    def wrong(self) -> int:
        """How many verdicts were not those that had to come."""
        return sum(phase.wrong.total() for phase in self.phases)

    @property
    def failed(self) -> int:
        """How many scans got no verdict, where there was to be one, or were refused as they may not be."""
        return self.failures.total()

    @property
    def failures(self) -> Counter[str]:
        """The same by gRPC status."""
        found: Counter[str] = Counter()
        for phase in self.phases:
            right = self._right_failures(phase)
            found.update({status: count for status, count in phase.failed.items() if status not in right})
        return found

    @property
    def from_nothing(self) -> int:
        """How many verdicts there were while nobody could know."""
        return self.during.known_in_time + self.ending.known_in_time if self.fault.is_closed else 0

    def _right_failures(self, phase: Phase) -> AbstractSet[str]:
        """Return the gRPC statuses that may come in a part instead of a verdict."""
        # Also who was due just before the fault is answered: it comes with a warning, or some time later.
        if not self.fault.is_closed or phase is self.before or phase is self.after:
            return frozenset()
        if self.fault.is_by_start and phase is not self.during:
            return {_CLOSED, _NOBODY_LISTENS, _SERVER_ENDS, _TOO_MANY}
        return {_CLOSED}

    @property
    def p99s_ms(self) -> Sequence[float | None]:
        """p99 before, during with its begin and its end, and after, milliseconds; None without a verdict."""
        meanwhile = Latencies()
        for phase in (self.striking, self.during, self.ending, self.healing):
            meanwhile.add(phase.latencies)
        return [one.percentile_ms(99) for one in (self.before.latencies, meanwhile, self.after.latencies)]

    @property
    def complaints(self) -> Sequence[str]:
        """What is not as it must be, for people; nothing where the gates went on and operators knew."""
        said = []
        if self.wrong:
            kinds = sum((phase.wrong for phase in self.phases), Counter())
            counts = {f"{got} for {expected}": count for (expected, got), count in kinds.items()}
            said.append(f"{self.wrong} wrong verdicts ({_counts(counts)})")
        if self.failed:
            said.append(f"{self.failed} scans without a verdict ({_counts(self.failures)})")
        if not (self.before.scans and self.during.scans and self.after.scans):
            said.append("nobody scanned")
        if self.from_nothing:
            said.append(f"{self.from_nothing} verdicts from nothing")
        if not self.was_well:
            said.append("metrics said so before")
        if (self.fault.sign or self.fault.rises) and self.noticed_after_s is None:
            said.append("metrics said nothing")
        if self.recovered_after_s is None:
            said.append("did not recover")
        return said


def run_trial(
    scene: Scene,
    fault: Fault,
    gates: Mapping[str, Gates],
    *,
    beside_s: float,
    lasts_s: float,
    most_wait_s: float = MOST_WAIT_S,
    look_s: float = LOOK_S,
) -> Sequence[Outcome]:
    """Do a fault to a scene at whose gates `gates` scan already; to be called in the main thread.

    Return what came of it on each engine. It lasts `lasts_s` seconds, or as long as the fault says, and until
    it was noticed everywhere; before and after it gates are watched for `beside_s`. Raises ProcessError.
    """
    pace = _Pace(beside_s, max(lasts_s, fault.lasts_s), most_wait_s, look_s)
    if not fault.is_in_turn:
        return _strike_and_heal(scene, fault, gates, pace)
    outcomes: list[Outcome] = []
    try:
        for engine in scene.engines:
            scene.engines_struck = (engine,)
            outcomes += _strike_and_heal(scene, fault, gates, pace)
    finally:
        scene.engines_struck = scene.engines
    return outcomes


@dataclass(frozen=True, slots=True)
class _Pace:
    """How long things take, seconds."""

    beside_s: float
    lasts_s: float
    most_wait_s: float
    look_s: float


def _strike_and_heal(
    scene: Scene, fault: Fault, gates: Mapping[str, Gates], pace: _Pace
) -> Sequence[Outcome]:
    watcher = Watcher(scene, fault, most_wait_s=pace.most_wait_s, look_s=pace.look_s)
    try:
        before = _begin_phase(gates)
        time.sleep(pace.beside_s)
        was_well = watcher.wait_until_well()
        striking = _begin_phase(gates)
        if not fault.is_by_start:
            watcher.begin()
        struck_at_s = time.monotonic()
        _do(fault.strike, scene)
        if fault.is_by_start:
            watcher.begin()
            struck_at_s = time.monotonic()
            time.sleep(_CONNECTED_S)
        during = _begin_phase(gates)
        lasts_until_s = time.monotonic() + pace.lasts_s
        noticed_at_s = watcher.wait_until_noticed() if fault.is_to_be_noticed else {}
        time.sleep(max(0.0, lasts_until_s - time.monotonic()))
        ending = _begin_phase(gates)
        _do(fault.prepare_heal, scene)
        healing = _begin_phase(gates)
        _do(fault.heal, scene)
        healed_at_s = time.monotonic()
        changed_at_s = _change_arrives(scene, healed_at_s + pace.most_wait_s)
        well_at_s = watcher.wait_until_well()
        if fault.is_by_start:
            time.sleep(_CONNECTED_S)
        after = _begin_phase(gates)
        time.sleep(pace.beside_s)
        _begin_phase(gates)
    finally:
        watcher.stop()
    phases = (before, striking, during, ending, healing, after)
    for engine, one in gates.items():
        one.settle([phase[engine] for phase in phases])
        if one.missed:
            raise ProcessError(f"{one.missed} calls were not made: this machine is too small for that rate")

    def counted(engine: str, phase: Mapping[str, Phase]) -> Phase:
        # Who stands in for somebody has gates of other engines as well.
        return _all_of(phase) if fault.is_in_turn else phase[engine]

    outcomes = []
    for engine in scene.engines_struck:
        recovered_after_s = None
        if engine in changed_at_s and engine in well_at_s:
            recovered_after_s = max(healed_at_s, changed_at_s[engine], well_at_s[engine]) - healed_at_s
        noticed_after_s = noticed_at_s[engine] - struck_at_s if engine in noticed_at_s else None
        outcome = Outcome(
            fault,
            engine,
            before=counted(engine, before),
            striking=counted(engine, striking),
            during=counted(engine, during),
            ending=counted(engine, ending),
            healing=counted(engine, healing),
            after=counted(engine, after),
            was_well=engine in was_well,
            noticed_after_s=noticed_after_s,
            recovered_after_s=recovered_after_s,
        )
        outcomes.append(outcome)
    return outcomes


def _begin_phase(gates: Mapping[str, Gates]) -> Mapping[str, Phase]:
    return {engine: one.begin_phase() for engine, one in gates.items()}


def _all_of(phases: Mapping[str, Phase]) -> Phase:
    together = Phase()
    for phase in phases.values():
        together.add(phase)
    return together


def _do(act: Callable[[Scene], object], scene: Scene) -> None:
    try:
        act(scene)
    except (OSError, redis.RedisError, psutil.Error) as error:
        raise ProcessError(f"could not be done: {type(error).__name__}: {error}") from error


class Watcher:
    """Looks at the metrics of all that are struck again and again, and notes what they say of a fault."""

    def __init__(self, scene: Scene, fault: Fault, *, most_wait_s: float, look_s: float) -> None:
        self._scene, self._fault = scene, fault
        self._most_wait_s, self._look_s = most_wait_s, look_s
        self._ending = threading.Event()
        self._changed = threading.Condition()
        # By engine, on the monotonic clock: since when all answer and show no sign, and when there was
        # one first, or the count had risen.
        self._well_since_s: dict[str, float] = {}
        self._noticed_at_s: dict[str, float] = {}
        self._has_begun = False
        self._before: dict[str, float] = {}  # by verifier: the count that is to rise, before the fault
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def begin(self) -> None:
        """Count what rises from now on, and note when it is noticed."""
        self._has_begun = True

    def wait_until_noticed(self) -> Mapping[str, float]:
        """Return when each engine's metrics said something; it waits for all, or until it took too long."""
        return self._wait(self._noticed_at_s)

    def wait_until_well(self) -> Mapping[str, float]:
        """Return since when each engine shows no sign; it waits for all, or until it took too long."""
        return self._wait(self._well_since_s)

    def stop(self) -> None:
        """Look no more."""
        self._ending.set()
        self._thread.join()

    def _wait(self, times_s: dict[str, float]) -> Mapping[str, float]:
        with self._changed:
            self._changed.wait_for(lambda: len(times_s) == len(self._scene.engines_struck), self._most_wait_s)
            return dict(times_s)

    def _look(self) -> None:
        while not self._ending.is_set():
            has_begun = self._has_begun
            looks = [
                (verifier.engine, *self._ask(verifier, has_begun))
                for verifier in self._scene.struck_verifiers()
            ]
            now_s = time.monotonic()
            unwell = {engine for engine, is_well, _ in looks if not is_well}
            noticed = {engine for engine, _, is_noticed in looks if is_noticed}
            with self._changed:
                for engine in self._scene.engines_struck:
                    if engine in unwell:
                        self._well_since_s.pop(engine, None)
                    else:
                        self._well_since_s.setdefault(engine, now_s)
                    if has_begun and engine in noticed:
                        self._noticed_at_s.setdefault(engine, now_s)
                self._changed.notify_all()
            self._ending.wait(self._look_s)

    def _ask(self, verifier: Verifier, has_begun: bool) -> tuple[bool, bool]:
        """Return whether a verifier answers without the sign, and whether it tells of the fault."""
        sign = self._fault.sign or _never
        try:
            metrics = verifier.metrics()
        except OSError:
            # It is not well; but that tells of the fault only where the verifier itself is to be gone, and
            # not where it is just started anew.
            return False, sign({})
        count = metrics.get(self._fault.rises or "", 0.0)
        if not has_begun:
            self._before[verifier.address] = count
        is_seen = sign(metrics)
        return not is_seen, is_seen or count > self._before.get(verifier.address, 0.0)


def _never(_: Metrics) -> bool:
    return False


def _change_arrives(scene: Scene, deadline_s: float) -> Mapping[str, float]:
    """Change a colour, and return when the verifiers struck said so in verdicts, by engine, until then."""
    someone = scene.someone_green()
    code = scene.code(someone)
    changed_at_s: float | None = None
    arrived_at_s: dict[str, float] = {}
    with contextlib.ExitStack() as stack:
        waiting = [(one.engine, stack.enter_context(scene.connect(one))) for one in scene.struck_verifiers()]
        while waiting:
            now_s = time.monotonic()
            if now_s > deadline_s:
                break
            if changed_at_s is None or now_s > changed_at_s + _CHANGE_AGAIN_S:
                with contextlib.suppress(redis.RedisError, CacheMismatch):
                    scene.city.set_colour(someone, Colour.RED)
                    changed_at_s = now_s
            # In turn, so that each engine's time is its own.
            waiting.append(waiting.pop(0))
            engine, gate = waiting[-1]
            with contextlib.suppress(VerifierClientError):
                if changed_at_s is not None and gate.verify(code).verdict is Verdict.RED:
                    arrived_at_s[engine] = time.monotonic()
                    waiting.pop()
                    continue
            time.sleep(_CHANGE_LOOK_S)
    late = {engine for engine, _ in waiting}
    return {engine: at_s for engine, at_s in arrived_at_s.items() if engine not in late}


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
