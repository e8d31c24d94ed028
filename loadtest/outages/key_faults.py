"""Faults of the key set: in Redis is an old one, a stranger's or none, or the one in force runs out."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import redis

from issuer.key_store import KeyStore, SecretKeyStore
from loadtest.outages.fault import Fault, Meanwhile
from loadtest.outages.host_scene import host_scene, wait_until
from loadtest.outages.scene import Scene
from loadtest.outages.signs import PREFIX, any_of, below, in_trouble
from verifier.wire import cose
from verifier.wire.ed25519 import VerifyingKey
from verifier.wire.key_set import KeySet, key_set_to_sign
from verifier.wire.status_store import KEY_SET_KEY

_DAY_S = 86_400
_GARBAGE = b"\xd2\x84 anything at all " * 20
# Time for every verifier to take it, which look once a second.
_LIVES_S = 3


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A key set: its version from that in force on, its validity from now on, seconds, and who signs it."""

    version: int
    begins_s: int
    ends_s: int
    root: KeyStore | None = None  # None: the city's own


def _publish(scene: Scene, wanted: _Wanted) -> int:
    """Put a key set where verifiers look for it; return when it ends, Unix seconds."""
    now = int(time.time())
    file = scene.city.file
    root = wanted.root or file.root
    key_set = KeySet.of(
        version=_version_in_force(scene) + wanted.version,
        issued_at=now + wanted.begins_s,
        expires_at=now + wanted.ends_s,
        keys=[VerifyingKey(file.key(number).public_key) for number in range(file.published)],
    )
    protected, payload, covered = key_set_to_sign(key_set, VerifyingKey(root.public_key))
    _put(scene, cose.assemble_sign1(protected, payload, root.sign(covered)))
    return key_set.expires_at


def _put(scene: Scene, value: bytes) -> None:
    with redis.Redis.from_url(scene.redis.url) as client:
        client.set(KEY_SET_KEY, value)


def _remove(scene: Scene) -> None:
    with redis.Redis.from_url(scene.redis.url) as client:
        client.delete(KEY_SET_KEY)


def _publishing(make: Callable[[], _Wanted]) -> Callable[[Scene], object]:
    return lambda scene: _publish(scene, make())


def _let_expire(scene: Scene) -> None:
    """Publish a key set that lives for seconds, renew it no more, and wait until it is over."""
    version = _version_in_force(scene) + 1
    expires_at = _publish(scene, _Wanted(1, 0, _LIVES_S))
    wait_until(lambda: _version_in_force(scene) == version, "a key set of seconds in force", _LIVES_S)
    time.sleep(max(0.0, expires_at - time.time()))


def _version_in_force(scene: Scene) -> int:
    return min(int(verifier.metrics()[f"{PREFIX}key_set_version"]) for verifier in scene.verifiers)


def _publish_a_new_one(scene: Scene) -> None:
    scene.city.publish_next_key()


_IS_OUTDATED = in_trouble("key_set", "outdated")

FAULTS: Sequence[Fault] = (
    Fault(
        "key-set-outdated",
        "an issuer with a slow clock signs a key set that is over already",
        _publishing(lambda: _Wanted(1, -2 * _DAY_S, -_DAY_S)),
        _publish_a_new_one,
        _IS_OUTDATED,
        needs=host_scene,
    ),
    Fault(
        "key-set-rolled-back",
        "an older key set lies in Redis",
        _publishing(lambda: _Wanted(-1, -_DAY_S, _DAY_S)),
        _publish_a_new_one,
        _IS_OUTDATED,
        needs=host_scene,
    ),
    Fault(
        "key-set-by-a-stranger",
        "a newer key set, signed by another root",
        _publishing(lambda: _Wanted(1, 0, _DAY_S, SecretKeyStore(os.urandom(32)))),
        _publish_a_new_one,
        in_trouble("key_set", "not_trusted"),
        needs=host_scene,
    ),
    Fault(
        "key-set-garbage",
        "what lies in Redis is no key set",
        lambda scene: _put(scene, _GARBAGE),
        _publish_a_new_one,
        in_trouble("key_set", "not_status"),
        needs=host_scene,
    ),
    Fault(
        "key-set-removed",
        "there is no key set in Redis",
        _remove,
        _publish_a_new_one,
        in_trouble("key_set", "not_there"),
        needs=host_scene,
    ),
    Fault(
        "key-set-expired",
        "the key set in force is over, and no new one comes",
        _let_expire,
        _publish_a_new_one,
        any_of(below("key_set_left_seconds", 0.0), below("workers_serving", 1.0)),
        meanwhile=Meanwhile.CLOSED,
        needs=host_scene,
    ),
)
