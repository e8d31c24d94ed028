"""The issuer's folder: where its keys and its register lie.

    root.key              signs key sets
    root.pub              the root's public key, for verifiers to pin
    signing/<key_id>.key  signs codes
    document-hash.key     marks document numbers
    document-hash.*.key   did so before: documents are looked for under these, too
    register.db           the register, unless it is a PostgreSQL database
    reasons.toml          the reasons that a yellow or a red may have
    local.key             bearer key of the client `local`, for the commands on this machine
    approver.key          bearer key of the client `approver`, to be handed to a second person
    issuer.sock           where the serving process listens for commands on this machine
    serve.lock            held by the process that serves
    archive.lock          held by the processes that archive, together

All private keys are wrapped by one passphrase (issuer/key_file.py); root.key may be kept elsewhere. The
URL of a PostgreSQL register is not kept here, since it holds a password: it is a setting.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from issuer.errors import AlreadyServed, NotInitialised, SetupError


@dataclass(frozen=True, slots=True)
class Folder:
    """The paths in an issuer's folder."""

    path: Path

    @property
    def root_key(self) -> Path:
        """The root's private key."""
        return self.path / "root.key"

    @property
    def root_public_key(self) -> Path:
        """The root's public key, PEM (SubjectPublicKeyInfo, RFC 8410)."""
        return self.path / "root.pub"

    @property
    def signing_keys(self) -> Path:
        """The folder of the signing keys."""
        return self.path / "signing"

    @property
    def document_hash_key(self) -> Path:
        """The key that marks document numbers."""
        return self.path / "document-hash.key"

    @property
    def older_document_hash_keys(self) -> Sequence[Path]:
        """The keys that marked document numbers before."""
        return sorted(self.path.glob("document-hash.*.key"))

    @property
    def register(self) -> Path:
        """The register, where it is a file."""
        return self.path / "register.db"

    @property
    def reasons(self) -> Path:
        """The reasons that a yellow or a red may have."""
        return self.path / "reasons.toml"

    @property
    def local_client_key(self) -> Path:
        """The bearer key of the client `local`."""
        return self.path / "local.key"

    @property
    def approver_client_key(self) -> Path:
        """The bearer key of the client `approver`."""
        return self.path / "approver.key"

    @property
    def socket(self) -> Path:
        """The socket of the process that serves, for commands on this machine."""
        return self.path / "issuer.sock"

    @property
    def lock(self) -> Path:
        """The file that the serving process holds."""
        return self.path / "serve.lock"

    @property
    def archive_lock(self) -> Path:
        """The file that archiving processes hold together."""
        return self.path / "archive.lock"

    def signing_key(self, key_id: bytes) -> Path:
        """Return the file of one signing key."""
        return self.signing_keys / f"{key_id.hex()}.key"


@contextlib.contextmanager
def locked(folder: Folder) -> Iterator[None]:
    """Hold the folder for one serving process; raises AlreadyServed.

    Two would publish the same outbox, and the slower one would put old records over new ones. The
    kernel lets go of the lock when the process dies, however it dies.
    """
    with _held(folder, folder.lock, fcntl.LOCK_EX, f"another process serves {folder.path}"):
        yield


@contextlib.contextmanager
def archiving(folder: Folder) -> Iterator[None]:
    """Hold the folder as one of those that archive; raises AlreadyServed while it is `still`."""
    with _held(folder, folder.archive_lock, fcntl.LOCK_SH, f"the register of {folder.path} is being changed"):
        yield


@contextlib.contextmanager
def still(folder: Folder) -> Iterator[None]:
    """Hold the folder with nobody serving or archiving; raises AlreadyServed.

    An archive would go on writing to a register that was put away.
    """
    problem = f"an archive works on {folder.path}"
    with locked(folder), _held(folder, folder.archive_lock, fcntl.LOCK_EX, problem):
        yield


@contextlib.contextmanager
def _held(folder: Folder, path: Path, how: int, problem: str) -> Iterator[None]:
    if not folder.path.is_dir():
        raise NotInitialised(f"there is no folder {folder.path}: run gatelight-issuer init")
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise SetupError(f"{path} cannot be opened: {error.strerror}") from None
    try:
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyServed(f"{problem}: stop that one first") from None
        yield
    finally:
        os.close(descriptor)
