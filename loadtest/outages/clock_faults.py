"""Faults of the clock: that of the machine on which the verifiers run is set wrong, and right again."""

from collections.abc import Sequence

from loadtest.outages.fault import Fault, Metrics
from loadtest.outages.host_scene import HostScene, host_scene, on_host
from loadtest.outages.signs import PREFIX

_MINUTE_S, _DAY_S = 60.0, 86_400.0
_STEPS = {
    "clock-5-min-fast": ("the machine's clock is set ahead by 5 minutes", 5 * _MINUTE_S),
    "clock-5-min-slow": ("the machine's clock is set back by 5 minutes", -5 * _MINUTE_S),
    "clock-a-day-fast": ("the machine's clock is set ahead by a day", _DAY_S),
    "clock-a-day-slow": ("the machine's clock is set back by a day", -_DAY_S),
}


def _fault(name: str, meaning: str, ahead_s: float) -> Fault:
    return Fault(
        name,
        meaning,
        on_host(lambda scene: scene.clock.set_ahead(ahead_s)),
        on_host(_set_right),
        _has_leapt,
        # Longer than the supervisor waits between two looks at the clock.
        lasts_s=1.5,
        needs=host_scene,
    )


def _set_right(scene: HostScene) -> None:
    scene.clock.set_ahead(0.0)


def _has_leapt(metrics: Metrics) -> bool:
    return metrics.get(f"{PREFIX}clock_step_seconds", 0.0) != 0.0


FAULTS: Sequence[Fault] = tuple(_fault(name, *step) for name, step in _STEPS.items())
