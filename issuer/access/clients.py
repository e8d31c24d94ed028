"""The clients on the register: who may call, and as what.

A client is known by the SHA-256 of its bearer key or of its TLS certificate. Looking a hash up takes a time
that depends on the hash, which helps nobody: to choose the hash of a key is to know the key.

Those that call are kept in memory, so that an app's calls cost no SQL. This process alone writes the
register (issuer/folder.py), so a client that is forgotten is forgotten everywhere, at once. One that is
being revoked is forgotten before the commit and asked of the register from then on, at each call: the answer
to a commit may be lost, and the revocation be in the register all the same.
"""

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Connection, Row, or_, select

from issuer.access.roles import Caller, Role
from issuer.errors import FailedPrecondition, NotFound
from issuer.register.database import Database
from issuer.register.schema import clients

NAME = re.compile(r"[A-Za-z0-9._@-]{1,64}")
# Without one of each, nobody can ever add, revoke or approve again.
_INDISPENSABLE = (Role.OPERATOR, Role.APPROVER)
# About 300 bytes each; more clients than that at once only means that some are looked up again.
_MAX_KNOWN = 4_096


@dataclass(frozen=True, slots=True)
class NewClient:
    """A client to add, known by one of the two hashes."""

    name: str  # as NAME
    roles: frozenset[Role]  # APP stands alone
    bearer_key_sha256: bytes | None = None
    certificate_sha256: bytes | None = None


@dataclass(frozen=True, slots=True)
class ClientEntry:
    """A client as the register has it."""

    client_id: int
    name: str
    roles: frozenset[Role]
    added_at: int
    revoked_at: int  # Unix seconds; 0: not revoked
    has_certificate: bool  # otherwise it has a bearer key


class Clients:
    """Adds, revokes and finds clients. Threads share it."""

    def __init__(self, *, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._known: dict[tuple[str, bytes], Caller] = {}  # by column and hash
        self._never_kept: set[int] = set()  # the ids of those whose revocation was begun

    def add(self, new: NewClient, *, now: int) -> int:
        """Add a client and return its id; raises FailedPrecondition or RegisterUnavailable."""
        with self._database.write() as connection:
            return self.add_in(connection, new, now=now)

    def add_in(self, connection: Connection, new: NewClient, *, now: int) -> int:
        """Add a client in the caller's transaction.

        Raises FailedPrecondition for a name that was ever used, so that the record of calls names one
        client for all time, and for a key or certificate that is or was another's.
        """
        _require_free(connection, new)
        values = {
            "name": new.name,
            "roles": encode_roles(new.roles),
            "bearer_key_sha256": new.bearer_key_sha256,
            "certificate_sha256": new.certificate_sha256,
            "added_at": now,
        }
        return int(connection.execute(clients.insert().values(values).returning(clients.c.id)).scalar_one())

    def revoke(self, name: str, *, now: int) -> None:
        """Revoke a client for good: its next call is refused, and the next batch of an import under way.

        Raises NotFound, FailedPrecondition or RegisterUnavailable.
        """
        with self._database.write() as connection:
            self.revoke_in(connection, name, now=now)

    def revoke_in(self, connection: Connection, name: str, *, now: int) -> None:
        """Revoke a client in the caller's transaction.

        Raises FailedPrecondition for one that is revoked, and for the last operator or approver.
        """
        client = _require_revocable(connection, name)
        self._forget(client.client_id)
        connection.execute(clients.update().where(clients.c.name == name).values(revoked_at=now))

    def list(self) -> Sequence[ClientEntry]:
        """Return all clients by name, also those revoked; raises RegisterUnavailable."""
        with self._database.read() as connection:
            return [_entry(row) for row in connection.execute(select(clients).order_by(clients.c.name))]

    def require_free(self, new: NewClient) -> None:
        """Raise FailedPrecondition where `add` would; raises RegisterUnavailable."""
        with self._database.read() as connection:
            _require_free(connection, new)

    def require_revocable(self, name: str) -> ClientEntry:
        """Return a client; raises what `revoke` would."""
        with self._database.read() as connection:
            return _require_revocable(connection, name)

    def find_by_bearer_key(self, key_sha256: bytes) -> Caller | None:
        """Return the client with this key, None when there is none or it is revoked."""
        return self._find(clients.c.bearer_key_sha256, key_sha256)

    def find_by_certificate(self, certificate_sha256: bytes) -> Caller | None:
        """Return the client with this certificate, None when there is none or it is revoked."""
        return self._find(clients.c.certificate_sha256, certificate_sha256)

    def _find(self, column: Column[bytes], sha256: bytes) -> Caller | None:
        if (known := self._known.get((column.name, sha256))) is not None:
            return known
        with self._database.read() as connection:
            which = select(clients).where(column == sha256, clients.c.revoked_at.is_(None))
            row = connection.execute(which).first()
        if row is None:
            return None
        caller = Caller(row.id, row.name, decode_roles(row.roles))
        with self._lock:
            # Whoever was revoked since the register was read must not be kept.
            if caller.client_id not in self._never_kept:
                if len(self._known) >= _MAX_KNOWN:
                    self._known.pop(next(iter(self._known)))
                self._known[column.name, sha256] = caller
        return caller

    def _forget(self, client_id: int) -> None:
        with self._lock:
            self._never_kept.add(client_id)
            self._known = {by: caller for by, caller in self._known.items() if caller.client_id != client_id}


def encode_roles(roles: frozenset[Role]) -> str:
    """Return roles as the register has them."""
    return ",".join(sorted(role.name for role in roles))


def decode_roles(text: str) -> frozenset[Role]:
    """Return the roles that `encode_roles` wrote."""
    return frozenset(Role[name] for name in text.split(","))


def client_named(connection: Connection, name: str) -> ClientEntry:
    """Return a client; raises NotFound."""
    row = connection.execute(select(clients).where(clients.c.name == name)).first()
    if row is None:
        raise NotFound(f"there is no client {name}" if NAME.fullmatch(name) else "there is no such client")
    return _entry(row)


def _require_free(connection: Connection, new: NewClient) -> None:
    """Raise FailedPrecondition unless a client can be added."""
    taken = or_(
        clients.c.name == new.name,
        # Of no bytes rather than None, which SQLAlchemy would make IS NULL: every client of the other kind.
        clients.c.bearer_key_sha256 == (new.bearer_key_sha256 or b""),
        clients.c.certificate_sha256 == (new.certificate_sha256 or b""),
    )
    names = [row.name for row in connection.execute(select(clients.c.name).where(taken))]
    if new.name in names:
        raise FailedPrecondition(f"there is or was a client {new.name}: choose a name that was never used")
    if names:
        raise FailedPrecondition("this key or certificate is or was another client's: make a new one")


def _require_revocable(connection: Connection, name: str) -> ClientEntry:
    """Return a client that can be revoked; raises NotFound or FailedPrecondition."""
    client = client_named(connection, name)
    if client.revoked_at:
        raise FailedPrecondition(f"client {name} is revoked")
    others = select(clients.c.roles).where(clients.c.revoked_at.is_(None), clients.c.id != client.client_id)
    kept = frozenset[Role]().union(*(decode_roles(roles) for roles in connection.scalars(others)))
    for role in _INDISPENSABLE:
        if role in client.roles and role not in kept:
            raise FailedPrecondition(f"client {name} is the last {role.name.lower()}: add another one first")
    return client


def _entry(row: Row[Any]) -> ClientEntry:
    return ClientEntry(
        client_id=row.id,
        name=row.name,
        roles=decode_roles(row.roles),
        added_at=row.added_at,
        revoked_at=row.revoked_at or 0,
        has_certificate=row.certificate_sha256 is not None,
    )
