"""A city in Redis without an issuer: any number of credentials, all green, and what verifiers need to know.

Records, key set and gate list are written with the issuer's own writer and signed with keys made here, so
that a benchmark can have 25 million credentials within seconds.
"""

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import redis
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from issuer.key_store import KeyStore, SecretKeyStore, key_id_of
from issuer.register.outbox import FeedPosition
from issuer.signing import sign_code
from issuer.status_writer import StatusWriter
from verifier.bearer import hash_key, make_key
from verifier.verdict import Policy
from verifier.wire import cose
from verifier.wire.code import Code, CredentialKind
from verifier.wire.ed25519 import VerifyingKey
from verifier.wire.gate_list import GateList, ListedGate, gate_list_to_sign
from verifier.wire.key_set import KeySet, key_set_to_sign
from verifier.wire.status_record import RECORD_BYTES, Colour, CredentialState, StatusRecord, pack
from verifier.wire.status_store import GATE_LIST_KEY, RECORDS_PER_SHARD

GATE_ID = "bench"
_DAY_S = 86_400
_HEARTBEAT_S = 1.0


class City:
    """Credentials 0 to `credentials` - 1 in Redis, and a key to sign codes of them."""

    def __init__(self, redis_url: str, *, folder: Path, credentials: int) -> None:
        """Write the status; `root.pub` goes to `folder`. heartbeats() keeps it current."""
        self.redis_url = redis_url
        self.credentials = credentials
        self.gate_key = make_key()
        self.root_file = folder / "root.pub"
        self._root, self._key = SecretKeyStore(os.urandom(32)), SecretKeyStore(os.urandom(32))
        root_key_id = key_id_of(self._root)
        public = Ed25519PublicKey.from_public_bytes(self._root.public_key)
        self.root_file.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        self._writer = StatusWriter(redis_url, root_key_id=root_key_id, partitions=1)
        self._tested_min = int(time.time()) // 60
        begun = self._writer.begin_rebuild()
        whole = self._record(Colour.GREEN).to_bytes(RECORD_BYTES, "little") * RECORDS_PER_SHARD
        for shard in range(-(-credentials // RECORDS_PER_SHARD)):
            count = min(RECORDS_PER_SHARD, credentials - shard * RECORDS_PER_SHARD)
            self._writer.write_shard(shard, whole[: count * RECORD_BYTES], begun)
        self._position: FeedPosition = self._writer.give_epoch(begun)[0]
        self._writing = threading.Lock()
        self._publish_documents()

    @property
    def public_key(self) -> bytes:
        """The key that codes are checked against."""
        return self._key.public_key

    def code(self, credential_index: int) -> bytes:
        """Return the QR text of a code that is valid for an hour."""
        now = int(time.time())
        code = Code(CredentialKind.PHONE, credential_index, 1, now, now + 3_600)
        return sign_code(code, key=self._key, key_id=key_id_of(self._key))

    def codes(self, indices: Sequence[int]) -> list[bytes]:
        """Return a code of each credential."""
        return [self.code(index) for index in indices]

    def set_colour(self, credential_index: int, colour: Colour) -> None:
        """Change a credential's record, as the issuer's publisher does."""
        with self._writing:
            update = [(credential_index, self._record(colour))]
            self._position = self._writer.append(0, self._position, update)

    @contextmanager
    def heartbeats(self) -> Iterator[None]:
        """Keep the status current."""
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(_HEARTBEAT_S):
                with self._writing:
                    self._position = self._writer.append(0, self._position, [])

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            self._writer.close()

    def _record(self, colour: Colour) -> int:
        return pack(StatusRecord(colour, CredentialState.ACTIVE, 1, 0, self._tested_min))

    def _publish_documents(self) -> None:
        now = int(time.time())
        root, key = VerifyingKey(self._root.public_key), VerifyingKey(self._key.public_key)
        key_set = KeySet.of(version=1, issued_at=now, expires_at=now + _DAY_S, keys=[key])
        self._writer.put_key_set(_sign(key_set_to_sign(key_set, root), self._root))
        gate_list = GateList(
            version=1,
            issued_at=now,
            expires_at=now + _DAY_S,
            # What every scan then has to be compared with; never met, so that everybody is green.
            groups={"bench": Policy(max_test_age_s=30 * _DAY_S, max_status_age_s=3_600)},
            gates=[ListedGate(GATE_ID, "bench", (hash_key(self.gate_key),), ())],
        )
        signed = _sign(gate_list_to_sign(gate_list, key_id_of(self._key)), self._key)
        with closing(redis.Redis.from_url(self.redis_url)) as client:
            client.set(GATE_LIST_KEY, signed)


def _sign(to_sign: tuple[bytes, bytes, bytes], key: KeyStore) -> bytes:
    protected, payload, covered = to_sign
    return cose.assemble_sign1(protected, payload, key.sign(covered))
