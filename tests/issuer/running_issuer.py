"""A whole issuer in this process, in a folder of its own: real register, real Redis, real gRPC."""

import atexit
import functools
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from issuer.access.bearer import read_key_file
from issuer.assembly import Issuer
from issuer.client import IssuerClient
from issuer.config import ServeSettings
from issuer.documents import DocumentHasher
from issuer.folder import Folder
from issuer.initialise import initialise
from issuer.unlock import unlock
from issuer.v1 import access_pb2
from issuer.v1 import admin_pb2 as pb
from tests.issuer.postgres_server import PostgresServer

PASSPHRASE = b"passphrase of the issuer tests"
_DATABASE = "template_issuer"
DOCUMENTS = DocumentHasher(b"document key of the issuer tests")


@functools.cache
def _template(postgres: PostgresServer | None) -> Path:
    """Return the folder of an issuer that was initialised once, for tests to copy, like its database."""
    parent = tempfile.mkdtemp(prefix="gatelight-template-")
    atexit.register(shutil.rmtree, parent, ignore_errors=True)
    folder = Path(parent) / "issuer"
    make_folder(folder, register_url=postgres.create_database(_DATABASE) if postgres else "")
    return folder


def make_folder(folder: Path, *, register_url: str = "") -> None:
    """Make an issuer."""
    initialise(Folder(folder), passphrase=PASSPHRASE, now=int(time.time()), register_url=register_url)


class RunningIssuer:
    """Serves on a socket and on a free port. `client` is the client `local`, `approver` the second person."""

    def __init__(
        self, parent: Path, redis_url: str, *, postgres: PostgresServer | None = None, **settings: object
    ) -> None:
        """Make an issuer in `parent`, with settings of `serve`; its register is a file, or in `postgres`."""
        self.folder = Folder(parent / "issuer")
        shutil.copytree(_template(postgres), self.folder.path)
        register_url = ""
        if postgres:
            register_url = postgres.create_database(f"issuer_{time.monotonic_ns()}", template=_DATABASE)
        self.settings = ServeSettings.model_validate(
            {
                "folder": self.folder.path,
                "register_url": register_url,
                "redis_url": redis_url,
                "listen": "127.0.0.1:0",
                "threads": 8,
                **settings,
            }
        )
        self.clock_skew_s = 0.0
        unlocked = unlock(self.folder, passphrase=PASSPHRASE, register_url=register_url)
        self.root = unlocked.root_public_key
        self.root_key_id = unlocked.root_key_id
        self.database = unlocked.database
        self.issuer = Issuer(
            self.settings,
            unlocked,
            passphrase=PASSPHRASE,
            clock=self.clock,
            monotonic=lambda: time.monotonic() + self.clock_skew_s,
        )
        self.publisher = self.issuer.publisher
        self.issuer.start()
        self.address = f"127.0.0.1:{self.issuer.server.port}"
        self.client = self.client_of(self.folder.local_client_key)
        self.approver = self.client_of(self.folder.approver_client_key)

    def client_of(self, key_file: Path) -> IssuerClient:
        """Return a client with the key in a file."""
        return IssuerClient(self.address, key=read_key_file(key_file))

    def clock(self) -> float:
        """Return the issuer's time, Unix seconds."""
        return time.time() + self.clock_skew_s

    def approve(self, approval_id: int) -> Sequence[str]:
        """Approve a request as the second person, see that it is carried out, and return its outcome."""
        answer = self.approver.access.Approve(access_pb2.ApproveRequest(approval_id=approval_id))
        assert answer.approval.state == access_pb2.APPROVAL_STATE_APPROVED, answer.approval.outcome
        return list(answer.approval.outcome)

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

    def set_colour(self, holder_id: int, colour: int, *, reason: int = 12) -> None:
        """Set a holder's colour, with the second person's consent where it is needed."""
        change = pb.StatusChange(
            holder_id=holder_id,
            colour=colour,  # type: ignore[arg-type]
            reason=0 if colour == 1 else reason,
            authority="city health office",
        )
        answer = self.client.admin.SetStatuses(pb.SetStatusesRequest(changes=[change]))
        if answer.approval_id:
            self.approve(answer.approval_id)

    def stop(self) -> None:
        """Stop serving."""
        self.client.close()
        self.approver.close()
        self.issuer.stop(0)
        self.database.close()
