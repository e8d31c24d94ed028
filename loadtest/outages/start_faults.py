"""A verifier that starts while Redis is away: from what it kept on its disk, or not at all."""

import itertools
import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

from loadtest.outages.fault import Fault, Meanwhile
from loadtest.outages.host_scene import PairScene, on_pair, pair_scene, wait_until
from loadtest.outages.scene import Verifier
from loadtest.outages.signs import any_of, below, in_trouble
from loadtest.processes import STOP_TIMEOUT_S
from verifier.host.kept_state import MIRROR

_HOUR_S, _DAY_S = 3_600.0, 86_400.0
# Longer than a kept mirror is used (--state-max-age-s).
_TOO_LONG_S = 2 * _DAY_S

_IS_EMPTY = any_of(in_trouble("mirror", "not_there"), in_trouble("key_set", "not_there"))

# What becomes of a folder of kept state between two runs.
_Damage = Callable[[Path], object]


def _start_in_turn(scene: PairScene) -> None:
    """Take Redis away, and start each verifier anew while the other one answers."""
    scene.redis.kill()
    for verifier in list(scene.verifiers):
        _stop(verifier)
        scene.start_again(verifier)


def _start_from(*damages: _Damage, clock_s: float = 0.0) -> Callable[[PairScene], None]:
    """Return what takes Redis away, ends all verifiers, and starts them again from what was damaged.

    They take turns in the damages. Their clock then is `clock_s` ahead.
    """

    def start(scene: PairScene) -> None:
        scene.redis.kill()
        for verifier, damage in zip(scene.verifiers, itertools.cycle(damages), strict=False):
            _stop(verifier)
            damage(scene.state_of(verifier))
        scene.clock.set_ahead(clock_s)
        scene.start_again(*scene.verifiers, is_ready=False)

    return start


def _bring_redis_back(scene: PairScene) -> None:
    scene.office.start_redis()


def _bring_redis_back_empty(scene: PairScene) -> None:
    """Start Redis, in which nobody writes anything, and wait until each verifier has seen that."""
    scene.city.fall_silent()
    scene.redis.restart()
    wait_until(
        lambda: all(_IS_EMPTY(one.metrics()) for one in scene.verifiers), "an empty Redis that is seen"
    )


def _write_again(scene: PairScene) -> None:
    scene.city.speak_again()


def _stop_all(scene: PairScene) -> None:
    for verifier in scene.verifiers:
        _stop(verifier)


def _set_right_and_start(scene: PairScene) -> None:
    """Do as the log advises where the time was wrong from the start: set it right and start them again."""
    scene.clock.set_ahead(0.0)
    scene.office.start_redis()
    scene.start_again(*scene.verifiers)


def _stop(verifier: Verifier) -> None:
    verifier.process.send(signal.SIGTERM)
    verifier.process.wait(STOP_TIMEOUT_S)


def _leave(state: Path) -> None:
    """What was kept is sound."""


def _flip_a_bit(state: Path) -> None:
    content = bytearray((state / MIRROR).read_bytes())
    content[len(content) // 2] ^= 1
    (state / MIRROR).write_bytes(content)


def _cut(state: Path) -> None:
    content = (state / MIRROR).read_bytes()
    (state / MIRROR).write_bytes(content[:-1])


def _give_to_another_issuer(state: Path) -> None:
    """Say in the header, which is JSON, that it is of another root key."""
    content = (state / MIRROR).read_bytes()
    before, name, rest = content.partition(b'"root_key_id": "')
    length = rest.index(b'"')
    (state / MIRROR).write_bytes(before + name + b"0" * length + rest[length:])


def _closed(
    name: str,
    meaning: str,
    start: Callable[[PairScene], None],
    prepare_heal: Callable[[PairScene], None] = _bring_redis_back_empty,
    heal: Callable[[PairScene], None] = _write_again,
) -> Fault:
    return Fault(
        name,
        meaning,
        on_pair(start),
        on_pair(heal),
        below("workers_serving", 1),
        meanwhile=Meanwhile.CLOSED,
        prepare_heal=on_pair(prepare_heal),
        is_by_start=True,
        needs=pair_scene,
    )


FAULTS: Sequence[Fault] = (
    Fault(
        "start-without-redis",
        "verifiers are started while Redis is away, from what they kept",
        on_pair(_start_in_turn),
        on_pair(_bring_redis_back),
        in_trouble("mirror"),
        needs=pair_scene,
    ),
    _closed(
        "start-with-nothing",
        "the same, with nothing kept, or what is another issuer's",
        _start_from(shutil.rmtree, _give_to_another_issuer),
    ),
    _closed(
        "start-with-damage",
        "the same, with a bit of what was kept changed, or the end cut off",
        _start_from(_flip_a_bit, _cut),
    ),
    _closed(
        "start-too-late",
        "the same, two days later",
        _start_from(_leave, clock_s=_TOO_LONG_S),
        _stop_all,
        _set_right_and_start,
    ),
    _closed(
        "start-too-early",
        "the same, the machine's clock being an hour behind",
        _start_from(_leave, clock_s=-_HOUR_S),
        _stop_all,
        _set_right_and_start,
    ),
)
