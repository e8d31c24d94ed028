"""The issuer is gone for weeks: verifiers go on by what they have, and say how old it is, until its keys end.

The weeks are virtual: the clocks of the verifiers run ahead together, as if their machine had been suspended.
They cannot be set back, so these faults are the last ones that are done to a scene.
"""

import contextlib
from collections.abc import Callable, Sequence

import redis

from issuer.key_store import KeyStore, key_id_of
from loadtest.city import ENTRY_GATE_ID, GATE_ID
from loadtest.outages.fault import Fault, Meanwhile
from loadtest.outages.host_scene import wait_until
from loadtest.outages.scene import Scene, Verifier
from loadtest.outages.signs import PREFIX, above, any_of, below
from verifier.bearer import hash_key, make_key
from verifier.client import VerifierClient, VerifierClientError
from verifier.verdict import Policy
from verifier.wire import cose
from verifier.wire.ed25519 import VerifyingKey
from verifier.wire.gate_list import GateList, ListedGate, gate_list_to_sign
from verifier.wire.key_set import KeySet, key_set_to_sign
from verifier.wire.status_store import GATE_LIST_KEY, KEY_SET_KEY

_DAY_S = 86_400
_DOCUMENT_LIFE_S = 30 * _DAY_S
_WEEKS_S, _TOO_LONG_S = 20 * _DAY_S, 31 * _DAY_S
# Above those of the city, which it numbers by its own clock, from one second to the next.
_ABOVE = 3_600
_NEW_GATE = "new"


def _be_gone_for(seconds: int) -> Callable[[Scene], None]:
    def be_gone(scene: Scene) -> None:
        key = _publish(scene)
        for verifier in scene.verifiers:
            _wait_until_known(scene, verifier, key)
        scene.city.fall_silent()
        scene.clock.sleep(seconds)

    return be_gone


def _come_back(scene: Scene) -> None:
    _publish(scene)
    scene.city.speak_again()


def _wait_until_known(scene: Scene, verifier: Verifier, key: str) -> None:
    """Return when the worker that answers has the gate list with a gate of that key; raises ProcessError."""
    with VerifierClient(verifier.address, gate_id=_NEW_GATE, bearer_key=key, tls=scene.tls) as gate:
        wait_until(lambda: _is_admitted(gate), "a new gate that is known")


def _is_admitted(gate: VerifierClient) -> bool:
    with contextlib.suppress(VerifierClientError):
        gate.verify(b"is anybody there")
        return True
    return False


def _publish(scene: Scene) -> str:
    """Write key set and gate list as of now, by the clock of the verifiers, for a month.

    Gates ask for no fresh status there; there is a new one, whose key is returned. Raises redis.RedisError.
    """
    file, now = scene.city.file, scene.now()
    key, root = file.key(), file.root
    # Later ones have higher numbers, also within a second.
    version = max(now, _newest_version(scene)) + _ABOVE
    until = now + _DOCUMENT_LIFE_S
    key_set = KeySet.of(
        version=version,
        issued_at=now,
        expires_at=until,
        keys=[VerifyingKey(file.key(number).public_key) for number in range(file.published)],
    )
    new_key = make_key()
    gates = {GATE_ID: scene.city.gate_key, ENTRY_GATE_ID: scene.city.entry_gate_key, _NEW_GATE: new_key}
    gate_list = GateList(
        version=version,
        issued_at=now,
        expires_at=until,
        groups={GATE_ID: Policy(), ENTRY_GATE_ID: Policy(is_one_entry=True), _NEW_GATE: Policy()},
        gates=[ListedGate(gate_id, gate_id, (hash_key(bearer),), ()) for gate_id, bearer in gates.items()],
    )
    with redis.Redis.from_url(scene.redis.url) as client:
        client.set(KEY_SET_KEY, _sign(key_set_to_sign(key_set, VerifyingKey(root.public_key)), root))
        client.set(GATE_LIST_KEY, _sign(gate_list_to_sign(gate_list, key_id_of(key)), key))
    return new_key


def _newest_version(scene: Scene) -> int:
    """Return the newest that is in force anywhere; raises OSError."""
    names = [f"{PREFIX}{name}_version" for name in ("key_set", "gate_list")]
    seen = [verifier.metrics() for verifier in scene.verifiers]
    return max(int(metrics.get(name, 0)) for metrics in seen for name in names)


def _sign(to_sign: tuple[bytes, bytes, bytes], key: KeyStore) -> bytes:
    protected, payload, covered = to_sign
    return cose.assemble_sign1(protected, payload, key.sign(covered))


FAULTS: Sequence[Fault] = (
    Fault(
        "issuer-gone-for-weeks",
        "nothing comes from the issuer for 20 days (virtual)",
        _be_gone_for(_WEEKS_S),
        _come_back,
        above("status_age_seconds", _WEEKS_S),
    ),
    Fault(
        "issuer-gone-for-too-long",
        "nothing comes from the issuer for 31 days (virtual): its keys are over",
        _be_gone_for(_TOO_LONG_S),
        _come_back,
        any_of(below("key_set_left_seconds", 0.0), below("workers_serving", 1.0)),
        meanwhile=Meanwhile.CLOSED,
    ),
)
