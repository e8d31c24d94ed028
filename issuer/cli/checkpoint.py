"""How far an import got, beside the file itself, so that a rerun goes on there.

It is written after each answered batch, when the rejects of that batch are in their file. Whatever is done
behind it is done again by the rerun: the issuer knows the rows by their external_id, and files are cut
back to the length that they had. So it need not survive a power cut, only be whole.
"""

import contextlib
import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from issuer.cli.import_errors import UnusableFile
from issuer.cli.import_file import Place

_HEAD_BYTES = 1 << 16
_MAX_BYTES = 1 << 16
_MODE = 0o600


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """What tells that a file is the one of the last run, without reading all of it."""

    size: int
    modified_ns: int
    head_sha256: str

    @classmethod
    def of(cls, path: Path) -> "FileIdentity":
        """Return that of the file; raises UnusableFile."""
        try:
            with path.open("rb") as file:
                found = os.fstat(file.fileno())
                head = file.read(_HEAD_BYTES)
        except OSError as error:
            raise UnusableFile(f"{path} cannot be read: {error.strerror}") from None
        return cls(found.st_size, found.st_mtime_ns, hashlib.sha256(head).hexdigest())


@dataclass(frozen=True, slots=True)
class Counts:
    """What came of the rows so far."""

    entered: int = 0
    known: int = 0  # by their external_id, from before
    rejected: int = 0

    @property
    def rows(self) -> int:
        """All rows so far."""
        return self.entered + self.known + self.rejected


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where an import stands between two batches."""

    method: str  # the rpc, so that no import goes on with another's place
    server: str  # nor on another issuer
    encoding: str
    is_json: bool
    approval_id: int  # consent that the import has; 0 none
    offset: int = 0  # 0: not begun
    line: int = 0
    rejects_size: int = 0
    output_size: int = 0
    counts: Counts = Counts()

    @property
    def place(self) -> Place:
        """How far it got."""
        return Place(self.offset, self.line)

    def save(self, path: Path, identity: FileIdentity) -> None:
        """Write it to `path`, whole or not at all; raises OSError."""
        written = path.with_name(f"{path.name}.new")
        descriptor = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _MODE)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({"file": asdict(identity), **asdict(self)}, file)
        written.replace(path)


def load_checkpoint(path: Path, identity: FileIdentity) -> Checkpoint | None:
    """Return the checkpoint that an earlier run left at `path`, None without one; raises UnusableFile."""
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UnusableFile(f"{path} cannot be read: {error.strerror}") from None
    try:
        loaded = json.loads(content)
        found = FileIdentity(**loaded.pop("file"))
        checkpoint = Checkpoint(**{**loaded, "counts": Counts(**loaded["counts"])})
    except (ValueError, TypeError, KeyError, AttributeError):
        raise UnusableFile(
            f"{path} cannot be understood: begin anew with --restart, which does no harm, because rows "
            "that were entered are known by their external_id"
        ) from None
    if found != identity:
        raise UnusableFile(
            f"the file was changed since an import of it stopped at line {checkpoint.line}: put the old one "
            "back, or begin anew with --restart, which does no harm, because rows that were entered are "
            "known by their external_id"
        )
    return checkpoint


def remove_checkpoint(path: Path) -> None:
    """Remove what `save` wrote."""
    for one in (path, path.with_name(f"{path.name}.new")):
        with contextlib.suppress(FileNotFoundError):
            one.unlink()
