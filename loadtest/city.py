"""A city in Redis without an issuer: any number of credentials, and what verifiers need to know.

Records, key set and gate list are written with the issuer's own writer and signed with keys made here, so
that a benchmark can have 25 million credentials within seconds.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import redis

from issuer.errors import CacheMismatch
from issuer.key_store import KeyStore, key_id_of
from issuer.register.outbox import FeedPosition
from issuer.signing import sign_code
from issuer.status_writer import StatusWriter
from loadtest.city_file import GATE_ID, KEYS, ROOT_NAME, CityFile
from loadtest.city_people import People
from verifier.bearer import hash_key, make_key
from verifier.verdict import Policy
from verifier.wire import cose
from verifier.wire.code import Code
from verifier.wire.ed25519 import VerifyingKey
from verifier.wire.gate_list import GateList, ListedGate, gate_list_to_sign
from verifier.wire.key_set import KeySet, key_set_to_sign
from verifier.wire.status_record import Colour
from verifier.wire.status_store import RECORDS_PER_SHARD, partition_of, shard_of

__all__ = ["ENTRY_GATE_ID", "GATE_ID", "City"]

# A second gate, where each code opens once.
ENTRY_GATE_ID = f"{GATE_ID}-entry"

HEARTBEAT_S = 1.0
_DAY_S = 86_400
# Longer than anybody leaves a city running; each start issues them anew.
_DOCUMENT_LIFE_S = 30 * _DAY_S
_HOUR_S = 3_600


class City:
    """A city's credentials in Redis. Its methods raise redis.RedisError, and ForeignCache for the Redis of
    another issuer, or of a city that was made anew.
    """

    def __init__(
        self,
        redis_url: str,
        *,
        folder: Path,
        credentials: int | None = None,
        is_mixed: bool = False,
        partitions: int = 1,
    ) -> None:
        """Make a city in `folder` and write its status; heartbeats() keeps it current.

        All are green unless it is mixed (city_people.py). Without `credentials` it takes the city that is in
        the folder, and raises NotACity when there is none.
        """
        if credentials is None:
            self.file = file = CityFile.read(folder)
        else:
            self.file = file = CityFile.make(People(credentials, is_mixed))
            file.write(folder)
        self._folder = folder
        self.redis_url = redis_url
        self.credentials = file.people.credentials
        self.gate_key = file.gate_key
        self.entry_gate_key = make_key()
        self.root_file = folder / ROOT_NAME
        self._root, self._key = file.root, file.key()
        self._tested_min = int(time.time()) // 60
        self._writer = StatusWriter(redis_url, root_key_id=key_id_of(self._root), partitions=partitions)
        self._writing = threading.Lock()
        self._is_silent = False
        self._version = 0  # of the documents published last
        self._positions = self._rebuild()

    @property
    def public_key(self) -> bytes:
        """The key that codes are checked against."""
        return self._key.public_key

    def code(self, credential_index: int) -> bytes:
        """Return the QR text of a code that is valid for an hour."""
        now = int(time.time())
        enrolled = self.file.people[credential_index]
        code = Code(enrolled.kind, credential_index, enrolled.generation, now, now + _HOUR_S)
        return sign_code(code, key=self._key, key_id=key_id_of(self._key))

    def codes(self, indices: Sequence[int]) -> list[bytes]:
        """Return a code of each credential."""
        return [self.code(index) for index in indices]

    def set_colour(self, credential_index: int, colour: Colour) -> None:
        """Change a credential's record, as the issuer's publisher does; a rebuild changes it back."""
        record = self.file.people.record(credential_index, tested_min=self._tested_min, colour=colour)
        partition = partition_of(shard_of(credential_index), self._writer.partitions)
        with self._writing:
            position = self._writer.append(
                partition, self._positions[partition], [(credential_index, record)]
            )
            self._positions[partition] = position

    def publish_next_key(self) -> None:
        """Put the second signing key into the key set, beside the first; it stays there after a restart.

        Raises OSError.
        """
        with self._writing:
            self.file = replace(self.file, published=KEYS)
            self.file.write(self._folder)
            self._publish_key_set()

    def new_epoch(self) -> None:
        """Make every verifier load the whole status anew, as after a rebuild."""
        with self._writing:
            try:
                self._positions = dict(self._writer.give_epoch(self._positions))
            except CacheMismatch:  # Redis was emptied, and nobody has noticed yet
                self._positions = self._rebuild()

    def rebuild(self) -> None:
        """Write everything, also into a Redis that was emptied."""
        with self._writing:
            self._positions = self._rebuild()

    def beat(self) -> bool:
        """Tell verifiers that the status is current; writes everything when Redis came back without it.

        Returns whether Redis took it: it may be away for a while.
        """
        with self._writing:
            if self._is_silent:
                return False
            try:
                self._beat_everywhere()
            except redis.RedisError:
                return False
            return True

    def fall_silent(self) -> None:
        """Beat no more, and mend nothing, as if the issuer were gone; waits for what is being written."""
        with self._writing:
            self._is_silent = True

    def speak_again(self) -> None:
        """Beat again, from now on: what is wrong in Redis is written anew."""
        with self._writing:
            self._is_silent = False
        self.beat()

    @contextmanager
    def heartbeats(self) -> Iterator[None]:
        """Keep the status current."""
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(HEARTBEAT_S):
                self.beat()

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            self.close()

    def close(self) -> None:
        """Close the connections; what is in Redis stays there."""
        self._writer.close()

    def _beat_everywhere(self) -> None:
        """Raises redis.RedisError when a partition's server does not answer; the others have heard then."""
        trouble = None
        for partition, position in self._positions.items():
            try:
                self._positions[partition] = self._writer.append(partition, position, [])
            except CacheMismatch:
                self._positions = self._rebuild()
                return
            except redis.RedisError as error:
                trouble = error
        if trouble is not None:
            raise trouble

    def _rebuild(self) -> dict[int, FeedPosition]:
        begun = self._writer.begin_rebuild()
        for shard in range(-(-self.credentials // RECORDS_PER_SHARD)):
            self._writer.write_shard(shard, self.file.people.shard(shard, tested_min=self._tested_min), begun)
        positions = dict(self._writer.give_epoch(begun))
        self._publish_key_set()
        self._publish_gate_list()
        return positions

    def _publish_key_set(self) -> None:
        version, now = self._next_version()
        key_set = KeySet.of(
            version=version,
            issued_at=now,
            expires_at=now + _DOCUMENT_LIFE_S,
            keys=[VerifyingKey(self.file.key(number).public_key) for number in range(self.file.published)],
        )
        to_sign = key_set_to_sign(key_set, VerifyingKey(self._root.public_key))
        self._writer.put_key_set(_sign(to_sign, self._root))

    def _publish_gate_list(self) -> None:
        version, now = self._next_version()
        gate_list = GateList(
            version=version,
            issued_at=now,
            expires_at=now + _DOCUMENT_LIFE_S,
            # What every scan then has to be compared with; never met: everybody is as the record says.
            groups={
                GATE_ID: Policy(max_test_age_s=_DOCUMENT_LIFE_S, max_status_age_s=_HOUR_S),
                ENTRY_GATE_ID: Policy(is_one_entry=True),
            },
            gates=[
                ListedGate(GATE_ID, GATE_ID, (hash_key(self.gate_key),), ()),
                ListedGate(ENTRY_GATE_ID, ENTRY_GATE_ID, (hash_key(self.entry_gate_key),), ()),
            ],
        )
        self._writer.write_gate_list(_sign(gate_list_to_sign(gate_list, key_id_of(self._key)), self._key))

    def _next_version(self) -> tuple[int, int]:
        """Return a version above all of this city, also of its earlier starts, and the time, Unix seconds."""
        now = int(time.time())
        self._version = max(self._version + 1, now)
        return self._version, now


def _sign(to_sign: tuple[bytes, bytes, bytes], key: KeyStore) -> bytes:
    protected, payload, covered = to_sign
    return cose.assemble_sign1(protected, payload, key.sign(covered))
