"""A whole issuer in this process, on a register of its own: real SQLite, real Redis, real gRPC."""

import time
from collections.abc import Sequence
from pathlib import Path

from issuer.client import IssuerClient
from issuer.documents import DocumentHasher
from issuer.key_store import SecretKeyStore
from issuer.publisher import Publisher
from issuer.register.database import Database
from issuer.register.keys import Keys
from issuer.register.outbox import Outbox
from issuer.register.register import Register
from issuer.server import GrpcServer
from issuer.servicer import AdminServicer, IssuerServicer
from issuer.status_writer import StatusWriter
from issuer.v1 import issuer_pb2 as pb
from tests.signer import Signer
from verifier.wire.ed25519 import VerifyingKey
from verifier.wire.key_set import KeySet, read_key_set

KEY = SecretKeyStore(b"signing key of the issuer tests!")
DOCUMENTS = DocumentHasher(b"document key of the issuer tests")
ROOT = Signer("issuer tests")


def new_keys(database: Database, *, valid_s: int = 86_400) -> KeySet:
    """Enter KEY and a key set with it into a register; return the key set."""
    now = int(time.time())
    signed = ROOT.key_set(issued_at=now - 1, valid_s=valid_s, keys=[VerifyingKey(KEY.public_key)])
    key_set = read_key_set(signed, ROOT.root)
    keys = Keys(database)
    keys.add_active_key(KEY.public_key, now=now)
    keys.add_key_set(key_set, signed)
    return key_set


class RunningIssuer:
    """Serves on a free port."""

    def __init__(
        self, folder: Path, redis_url: str, *, partitions: int = 1, key_set_valid_s: int = 86_400
    ) -> None:
        self.database = Database.create(folder / "register.db")
        key_set = new_keys(self.database, valid_s=key_set_valid_s)
        keys = Keys(self.database)
        self.register = Register(database=self.database, documents=DOCUMENTS)
        writer = StatusWriter(redis_url, root_key_id=ROOT.root_key_id, partitions=partitions)
        self.publisher = Publisher(outbox=Outbox(self.database), keys=keys, writer=writer)
        self.clock_skew_s = 0
        self.server = GrpcServer(
            issuer=IssuerServicer(
                register=self.register, keys=keys, key=KEY, key_set=key_set, clock=self._clock
            ),
            admin=AdminServicer(register=self.register, publisher=self.publisher, clock=self._clock),
            listen="127.0.0.1:0",
            threads=8,
        )
        self.publisher.start()
        self.server.start()
        self.address = f"127.0.0.1:{self.server.port}"
        self.client = IssuerClient(self.address)

    def enrol(self, count: int = 1, *, name: str = "王小秀") -> Sequence[int]:
        """Enter holders with new documents; return their ids."""
        first = time.monotonic_ns()
        holders = [
            pb.NewHolder(name=name, document_type="ID", document_number=f"{first + number}")
            for number in range(count)
        ]
        return list(self.client.admin.EnrolHolders(pb.EnrolHoldersRequest(holders=holders)).holder_ids)

    def issue(self, kind: int = 1, *, name: str = "王小秀") -> int:
        """Issue a credential to a new holder; return its index."""
        new = pb.NewCredential(holder_id=self.enrol(name=name)[0], kind=kind)  # type: ignore[arg-type]
        answer = self.client.admin.IssueCredentials(pb.IssueCredentialsRequest(credentials=[new]))
        return int(answer.credential_indices[0])

    def stop(self) -> None:
        self.client.close()
        self.server.drain(0)
        self.publisher.stop()
        self.database.close()

    def _clock(self) -> float:
        return time.time() + self.clock_skew_s
