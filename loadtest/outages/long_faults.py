"""The issuer is gone for weeks: verifiers go on by what they have, and say how old it is, until its keys end.

The weeks are virtual: the clocks of the verifier run ahead together, as if its machine had been suspended.
They cannot be set back, so a scene is for one fault, and then over.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import redis

from issuer.key_store import KeyStore, key_id_of
from issuer.signing import sign_code
from loadtest.city import ENTRY_GATE_ID, GATE_ID
from loadtest.office import CREDENTIALS, CityOffice, city_office
from loadtest.outages.fault import Fault, Meanwhile
from loadtest.outages.scene import Scene
from loadtest.outages.signs import above, any_of, below
from loadtest.outages.wall_clock import WallClock
from verifier.bearer import hash_key
from verifier.verdict import Policy
from verifier.wire import cose
from verifier.wire.code import Code
from verifier.wire.ed25519 import VerifyingKey
from verifier.wire.gate_list import GateList, ListedGate, gate_list_to_sign
from verifier.wire.key_set import KeySet, key_set_to_sign
from verifier.wire.status_store import GATE_LIST_KEY, KEY_SET_KEY

_DAY_S = 86_400
_DOCUMENT_LIFE_S = 30 * _DAY_S
_WEEKS_S, _TOO_LONG_S = 20 * _DAY_S, 31 * _DAY_S


class LongScene(Scene):
    """One verifier whose time passes as quickly as one likes, and gates that ask for no fresh status."""

    codes_good_s = 40 * _DAY_S

    def __init__(self, office: CityOffice, *, folder: Path, engine: str) -> None:
        """It is not started yet; raises OSError."""
        self.clock = WallClock(folder / "clock")
        super().__init__(office, folder=folder, engine=engine, environment=self.clock.environment)
        self.publish()

    def code(self, credential_index: int) -> bytes:
        """Return the QR text of a code that is valid now, by the clock of the verifier."""
        enrolled, now = self.city.file.people[credential_index], self._now()
        code = Code(enrolled.kind, credential_index, enrolled.generation, now, now + self.codes_good_s)
        key = self.city.file.key()
        return sign_code(code, key=key, key_id=key_id_of(key))

    def publish(self) -> None:
        """Write key set and gate list as of now, by the clock of the verifier, for a month."""
        file, now = self.city.file, self._now()
        until = now + _DOCUMENT_LIFE_S
        key_set = KeySet.of(
            # Above those of the city, which are numbered by its clock.
            version=now + 1,
            issued_at=now,
            expires_at=until,
            keys=[VerifyingKey(file.key().public_key)],
        )
        gates = {GATE_ID: self.city.gate_key, ENTRY_GATE_ID: self.city.entry_gate_key}
        gate_list = GateList(
            version=now + 1,
            issued_at=now,
            expires_at=until,
            groups={GATE_ID: Policy(), ENTRY_GATE_ID: Policy(is_one_entry=True)},
            gates=[ListedGate(gate_id, gate_id, (hash_key(key),), ()) for gate_id, key in gates.items()],
        )
        with redis.Redis.from_url(self.redis.url) as client:
            key, root = file.key(), file.root
            client.set(KEY_SET_KEY, _sign(key_set_to_sign(key_set, VerifyingKey(root.public_key)), root))
            client.set(GATE_LIST_KEY, _sign(gate_list_to_sign(gate_list, key_id_of(key)), key))

    def _now(self) -> int:
        return int(time.time() + self.clock.slept_s)


@contextmanager
def long_scene(folder: Path, *, engine: str, credentials: int = CREDENTIALS) -> Iterator[LongScene]:
    """Set up Redis, a city and a verifier in `folder`, and tear them down again; raises ProcessError."""
    with city_office(folder, credentials=credentials) as office:
        running = LongScene(office, folder=folder, engine=engine)
        try:
            running.start_verifier()
            yield running
        finally:
            running.close()


def _in_long(do: Callable[[LongScene], object]) -> Callable[[Scene], object]:
    def done(scene: Scene) -> object:
        if not isinstance(scene, LongScene):
            raise TypeError(f"expected a verifier with a clock of its own, got {type(scene).__name__}")
        return do(scene)

    return done


def _be_gone_for(seconds: int) -> Callable[[LongScene], None]:
    def be_gone(scene: LongScene) -> None:
        scene.city.fall_silent()
        scene.clock.sleep(seconds)

    return be_gone


def _come_back(scene: LongScene) -> None:
    scene.publish()
    scene.city.speak_again()


def _sign(to_sign: tuple[bytes, bytes, bytes], key: KeyStore) -> bytes:
    protected, payload, covered = to_sign
    return cose.assemble_sign1(protected, payload, key.sign(covered))


FAULTS: Sequence[Fault] = (
    Fault(
        "issuer-gone-for-weeks",
        "nothing comes from the issuer for 20 days (virtual)",
        _in_long(_be_gone_for(_WEEKS_S)),
        _in_long(_come_back),
        above("status_age_seconds", _WEEKS_S),
        needs=long_scene,
        is_alone=True,
    ),
    Fault(
        "issuer-gone-for-too-long",
        "nothing comes from the issuer for 31 days (virtual): its keys are over",
        _in_long(_be_gone_for(_TOO_LONG_S)),
        _in_long(_come_back),
        any_of(below("key_set_left_seconds", 0.0), below("workers_serving", 1.0)),
        meanwhile=Meanwhile.CLOSED,
        engines=("grpcio",),  # as start_faults.py: it is not the engine's
        needs=long_scene,
        is_alone=True,
    ),
)
