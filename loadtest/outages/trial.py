"""One fault, from before to after."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from loadtest.outages.fault import Fault, Meanwhile, Metrics
from loadtest.outages.gates import Gates, Phase
from loadtest.outages.scene import Scene

_LOOK_S = 0.1
# Nobody waits longer for a verifier to say what it has, or to be as it was.
MOST_WAIT_S = 30.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a fault."""

    fault: Fault
    engine: str
    before: Phase
    during: Phase
    after: Phase
    noticed_after_s: float | None  # from the strike until metrics said so; None: they did not, or need not
    recovered_after_s: float | None  # from the healing until metrics said nothing of it; None: they went on

    @property
    def wrong(self) -> int:
        """How many verdicts were not those that had to come."""
        return sum(phase.wrong.total() for phase in (self.before, self.during, self.after))

    @property
    def failed(self) -> int:
        """How many scans got no verdict, where there was to be one."""
        phases = [self.before, self.after]
        if self.fault.meanwhile is Meanwhile.AS_EVER:
            phases.append(self.during)
        return sum(phase.failed.total() for phase in phases)

    @property
    def complaints(self) -> Sequence[str]:
        """What is not as it must be, for people; nothing where the gates went on and operators knew."""
        said = []
        if self.wrong:
            said.append(f"{self.wrong} wrong verdicts")
        if self.failed:
            said.append(f"{self.failed} scans without a verdict")
        if not (self.before.scans and self.during.scans and self.after.scans):
            said.append("nobody scanned")
        if self.fault.meanwhile is Meanwhile.CLOSED and self.during.right:
            said.append(f"{self.during.right} verdicts from nothing")
        if self.fault.sign is not None and self.noticed_after_s is None:
            said.append("metrics said nothing")
        if self.recovered_after_s is None:
            said.append("did not recover")
        return said


class Watcher:
    """Looks at all verifiers' metrics ten times a second, and notes when a sign came and when it went."""

    def __init__(self, scene: Scene, fault: Fault) -> None:
        self._scene, self._fault = scene, fault
        self._ending = threading.Event()
        self._changed = threading.Condition()
        self._is_seen = False
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def wait_for(self, *, is_seen: bool, timeout_s: float) -> float | None:
        """Return when the sign was there, or was gone, as time.monotonic(); None if it took too long."""
        with self._changed:
            if self._changed.wait_for(lambda: self._is_seen is is_seen, timeout_s):
                return time.monotonic()
        return None

    def stop(self) -> None:
        """Look no more."""
        self._ending.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ending.wait(_LOOK_S):
            is_seen = any(self._shows(verifier.metrics) for verifier in self._scene.verifiers)
            with self._changed:
                self._is_seen = is_seen
                self._changed.notify_all()

    def _shows(self, metrics: object) -> bool:
        if self._fault.sign is None:
            return False
        try:
            said: Metrics = metrics()  # type: ignore[operator]
        except OSError:
            return True  # who does not answer at all is noticed by every Prometheus
        return self._fault.sign(said)


def run_trial(scene: Scene, fault: Fault, gates: Gates, *, before_s: float, lasts_s: float) -> Outcome:
    """Do a fault to a scene at whose gates `gates` scans already; to be called in the main thread.

    It lasts `lasts_s` seconds, and until it was noticed. Raises ProcessError.
    """
    watcher = Watcher(scene, fault)
    try:
        before = gates.begin_phase()
        time.sleep(before_s)
        during = gates.begin_phase()
        struck_at_s = time.monotonic()
        fault.strike(scene)
        noticed_at_s = None
        if fault.sign is not None:
            noticed_at_s = watcher.wait_for(is_seen=True, timeout_s=MOST_WAIT_S)
        time.sleep(max(0.0, struck_at_s + lasts_s - time.monotonic()))
        fault.heal(scene)
        healed_at_s = time.monotonic()
        recovered_at_s = watcher.wait_for(is_seen=False, timeout_s=MOST_WAIT_S)
        after = gates.begin_phase()
        time.sleep(before_s)
    finally:
        watcher.stop()
    return Outcome(
        fault,
        scene.engine,
        before,
        during,
        after,
        None if noticed_at_s is None else noticed_at_s - struck_at_s,
        None if recovered_at_s is None else recovered_at_s - healed_at_s,
    )
