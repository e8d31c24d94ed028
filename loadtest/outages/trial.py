"""One fault, from before to after.

before    the gates scan, and no sign of the fault is there
striking  until it is there
during    until it was noticed, and as long as it is to last
healing   until it is gone: the signs as well, and a change of status made since has come to every verifier
after     the gates go on
"""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import psutil
import redis

from issuer.errors import CacheMismatch
from loadtest.latency import Latencies
from loadtest.outages.fault import Fault, Meanwhile
from loadtest.outages.gates import Gates, Phase
from loadtest.outages.scene import Scene, Verifier
from loadtest.processes import ProcessError
from verifier.client import VerifierClientError
from verifier.verdict import Verdict
from verifier.wire.status_record import Colour

_LOOK_S = 0.1
_CHANGE_LOOK_S = 0.01
# Nobody waits longer for a verifier to say what it has, or to be as it was.
MOST_WAIT_S = 30.0
# A change is lost when all is written anew right behind it: after so long it is made again.
_CHANGE_AGAIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a fault."""

    fault: Fault
    engine: str
    before: Phase
    striking: Phase
    during: Phase
    healing: Phase
    after: Phase
    was_well: bool  # nothing was to be seen of the fault before it was there
    noticed_after_s: float | None  # from the strike until metrics said so; None: they did not, or need not
    recovered_after_s: float | None  # from the healing until it was gone; None: it was not

    @property
    def phases(self) -> Sequence[Phase]:
        """All parts, in their order."""
        return self.before, self.striking, self.during, self.healing, self.after

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
        """How many scans got no verdict, where there was to be one."""
        if self.fault.meanwhile is Meanwhile.AS_EVER:
            return sum(phase.failed.total() for phase in self.phases)
        return self.before.failed_in_time + self.after.failed.total()

    @property
    def p99s_ms(self) -> Sequence[float | None]:
        """p99 before, during with its begin and its end, and after, milliseconds; None without a verdict."""
        meanwhile = Latencies()
        for phase in (self.striking, self.during, self.healing):
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
            kinds_failed = sum((phase.failed for phase in self.phases), Counter())
            said.append(f"{self.failed} scans without a verdict ({_counts(kinds_failed)})")
        if not (self.before.scans and self.during.scans and self.after.scans):
            said.append("nobody scanned")
        if self.fault.meanwhile is Meanwhile.CLOSED and self.during.known_in_time:
            said.append(f"{self.during.known_in_time} verdicts from nothing")
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
    gates: Gates,
    *,
    beside_s: float,
    lasts_s: float,
    most_wait_s: float = MOST_WAIT_S,
) -> Outcome:
    """Do a fault to a scene at whose gates `gates` scans already; to be called in the main thread.

    It lasts `lasts_s` seconds, or as long as the fault says, and until it was noticed; before and after it
    gates are watched for `beside_s`. Raises ProcessError.
    """
    watcher = Watcher(scene, fault, most_wait_s=most_wait_s)
    try:
        before = gates.begin_phase()
        time.sleep(beside_s)
        was_well = watcher.wait_until_well()
        striking = gates.begin_phase()
        watcher.begin()
        struck_at_s = time.monotonic()
        _do(fault.strike, scene)
        during = gates.begin_phase()
        lasts_until_s = time.monotonic() + max(lasts_s, fault.lasts_s)
        noticed_after_s = None
        if fault.is_to_be_noticed and watcher.wait_until_noticed():
            noticed_after_s = time.monotonic() - struck_at_s
        time.sleep(max(0.0, lasts_until_s - time.monotonic()))
        healing = gates.begin_phase()
        _do(fault.heal, scene)
        healed_at_s = time.monotonic()
        recovered_after_s = None
        if _change_arrives(scene, healed_at_s + most_wait_s) and watcher.wait_until_well():
            recovered_after_s = time.monotonic() - healed_at_s
        after = gates.begin_phase()
        time.sleep(beside_s)
        gates.begin_phase()
    finally:
        watcher.stop()
    phases = (before, striking, during, healing, after)
    gates.settle(phases)
    if gates.missed:
        raise ProcessError(f"{gates.missed} calls were not made: this machine is too small for that rate")
    return Outcome(fault, scene.engine, *phases, was_well, noticed_after_s, recovered_after_s)


def _do(act: Callable[[Scene], object], scene: Scene) -> None:
    try:
        act(scene)
    except (OSError, redis.RedisError, psutil.Error) as error:
        raise ProcessError(f"could not be done: {type(error).__name__}: {error}") from error


class Watcher:
    """Looks at all verifiers' metrics ten times a second, and notes what they say of a fault."""

    def __init__(self, scene: Scene, fault: Fault, *, most_wait_s: float) -> None:
        self._scene, self._fault = scene, fault
        self._most_wait_s = most_wait_s
        self._ending = threading.Event()
        self._changed = threading.Condition()
        self._is_well: bool | None = None  # None: not looked yet
        self._has_begun = False
        self._before: dict[str, float] = {}  # by verifier: the count that is to rise, before the fault
        self._has_risen = False
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def begin(self) -> None:
        """Count what rises from now on."""
        self._has_begun = True

    def wait_until_noticed(self) -> bool:
        """Return when metrics say something, or it took too long: then False."""
        return self._wait(lambda: self._has_risen or self._is_well is False)

    def wait_until_well(self) -> bool:
        """Return when there is no sign, or it took too long: then False."""
        return self._wait(lambda: self._is_well is True)

    def stop(self) -> None:
        """Look no more."""
        self._ending.set()
        self._thread.join()

    def _wait(self, holds: Callable[[], bool]) -> bool:
        with self._changed:
            return self._changed.wait_for(holds, self._most_wait_s)

    def _look(self) -> None:
        while not self._ending.is_set():
            has_begun = self._has_begun
            looks = [self._ask(verifier, has_begun) for verifier in list(self._scene.verifiers)]
            with self._changed:
                self._is_well = not any(is_seen for is_seen, _ in looks)
                self._has_risen = self._has_risen or any(has_risen for _, has_risen in looks)
                self._changed.notify_all()
            self._ending.wait(_LOOK_S)

    def _ask(self, verifier: Verifier, has_begun: bool) -> tuple[bool, bool]:
        """Return whether a verifier shows the sign, and whether the count has risen."""
        try:
            metrics = verifier.metrics()
        except OSError:
            # Who does not answer at all is noticed by every Prometheus.
            return self._fault.sign is not None, False
        count = metrics.get(self._fault.rises or "", 0.0)
        if not has_begun:
            self._before[verifier.address] = count
        is_seen = self._fault.sign is not None and self._fault.sign(metrics)
        return is_seen, count > self._before.get(verifier.address, 0.0)


def _change_arrives(scene: Scene, deadline_s: float) -> bool:
    """Change a colour, and return whether every verifier says so in a verdict until then."""
    someone = scene.someone_green()
    code = scene.code(someone)
    changed_at_s: float | None = None
    with contextlib.ExitStack() as stack:
        waiting = [stack.enter_context(scene.connect(one)) for one in scene.verifiers]
        while waiting:
            now_s = time.monotonic()
            if now_s > deadline_s:
                return False
            if changed_at_s is None or now_s > changed_at_s + _CHANGE_AGAIN_S:
                with contextlib.suppress(redis.RedisError, CacheMismatch):
                    scene.city.set_colour(someone, Colour.RED)
                    changed_at_s = now_s
            with contextlib.suppress(VerifierClientError):
                if changed_at_s is not None and waiting[-1].verify(code).verdict is Verdict.RED:
                    waiting.pop()
                    continue
            time.sleep(_CHANGE_LOOK_S)
    return True


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
