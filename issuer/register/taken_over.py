"""What a restored SQLite register takes over from the one that it replaces.

A backup does not know what happened after it, and four things of that must not be undone: a number that was
given is never given to another (a printed card would show the colour of somebody else), a client that was
revoked stays out, a signing key is known for as long as its codes are, or stays ended, and a gate's
credential that was taken away opens nothing again.

Gate lists go on from the version of the replaced register. Where that cannot be read, they go on from the
time: no version is below it (issuer/register/gate_list.py).

All signing keys of the replaced register are taken over. One that was revoked there is RETIRED here: the
approval of its revocation went with the days that are lost, and the register lets nobody revoke without
one. Both are out of force for good.
"""

import contextlib
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

from issuer.register.migrations import HEAD

# Where nobody can tell which numbers were given since the backup. No city issues a million cards between
# two backups, and the records of a million, 8 bytes each, take 8 MB of every verifier's memory.
SKIPPED_NUMBERS = 1_000_000

_NUMBERED = ("holders", "credentials", "outbox", "approvals", "clients", "calls")
_RETIRED, _REVOKED = 3, 4  # keys.lifecycle.KeyState, which every schema since the second has

_REVOKED_CLIENTS = "SELECT name, revoked_at FROM clients WHERE revoked_at IS NOT NULL"
_KEYS = """SELECT key_id, public_key, state, created_at, published_at, activated_at, ended_at, last_expires_at
           FROM signing_keys"""
_KEY_SETS = "SELECT version, signed, issued_at, expires_at FROM key_sets"
_GATE_CREDENTIALS = "SELECT sha256 FROM gate_credentials"
_GATE_LIST = "SELECT version, issued_at FROM gate_list"

_ADD_KEY_SET = "INSERT INTO key_sets (version, signed, issued_at, expires_at) VALUES (?, ?, ?, ?)"
_REVOKE_CLIENT = "UPDATE clients SET revoked_at = ? WHERE name = ? AND revoked_at IS NULL"
_REMOVE_GATE_CREDENTIAL = "DELETE FROM gate_credentials WHERE sha256 = ?"
_TAKE_GATE_LIST = """INSERT INTO gate_list (id, version, issued_at) VALUES (1, ?, ?)
    ON CONFLICT (id) DO UPDATE SET
        version = max(version, excluded.version), issued_at = max(issued_at, excluded.issued_at)"""
# Nothing that came to an end begins anew. NULL: it did not happen, or not that we know.
_TAKE_KEY = """INSERT INTO signing_keys
        (key_id, public_key, state, created_at, published_at, activated_at, ended_at, last_expires_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (key_id) DO UPDATE SET
        state = max(state, excluded.state),
        published_at = coalesce(published_at, excluded.published_at),
        activated_at = coalesce(activated_at, excluded.activated_at),
        ended_at = coalesce(ended_at, excluded.ended_at),
        last_expires_at = max(last_expires_at, excluded.last_expires_at)"""


@dataclass(frozen=True, slots=True)
class Replaced:
    """What is taken over from a register of some later day."""

    revision: str
    numbers: dict[str, int]  # by table: the highest that was given
    key_sets: Sequence[tuple[Any, ...]]
    keys: Sequence[tuple[Any, ...]]
    revoked_clients: Sequence[tuple[str, int]]
    gate_credentials: frozenset[bytes] = frozenset()  # SHA-256s
    gate_list: Sequence[tuple[int, int]] = ()  # version and issued_at; none before the first


def read_replaced(register: Path) -> Replaced | None:
    """Read the register that is to be replaced; None where there is none, or it cannot be read."""
    if not register.is_file():
        return None
    try:
        # Nothing is changed, not even by closing it: it is kept. Where it has no log, none is made.
        how = "mode=ro" if register.with_name(f"{register.name}-wal").exists() else "immutable=1"
        source = sqlite3.connect(f"{register.absolute().as_uri()}?{how}", uri=True)
        with contextlib.closing(source):
            source.execute("BEGIN")
            numbers = dict(source.execute("SELECT name, seq FROM sqlite_sequence"))
            tables = {name for (name,) in source.execute("SELECT name FROM sqlite_master")}
            key_sets = source.execute(_KEY_SETS).fetchall()
            if "alembic_version" not in tables:
                return Replaced("", numbers, key_sets, [], [])  # of the first release
            (revision,) = source.execute("SELECT version_num FROM alembic_version").fetchone()
            keys = source.execute(_KEYS).fetchall()
            revoked = source.execute(_REVOKED_CLIENTS).fetchall()
            if "gate_list" not in tables:
                return Replaced(str(revision), numbers, key_sets, keys, revoked)
            credentials = frozenset(bytes(sha256) for (sha256,) in source.execute(_GATE_CREDENTIALS))
            gate_list = source.execute(_GATE_LIST).fetchall()
    except (sqlite3.Error, TypeError):  # TypeError: a version table without a row
        return None
    return Replaced(str(revision), numbers, key_sets, keys, revoked, credentials, gate_list)


def take_over(connection: Connection, replaced: Replaced | None, *, revision: str) -> tuple[int, bool]:
    """Enter it into a restored register of some `revision`.

    Returns how many numbers were skipped, 0 where those given since are known, and whether keys, clients and
    gates' credentials that were ended since stay ended.
    """
    if replaced is None or not _is_later(connection, replaced):
        _raise_numbers(connection, {}, skipped=SKIPPED_NUMBERS)
        return SKIPPED_NUMBERS, False
    _raise_numbers(connection, replaced.numbers, skipped=0)
    if not revision == replaced.revision == HEAD:
        return 0, False
    known = set(connection.scalars(text("SELECT version FROM key_sets")))
    _run(connection, _ADD_KEY_SET, [row for row in replaced.key_sets if row[0] not in known])
    keys = [(*key[:2], min(key[2], _RETIRED), *key[3:]) for key in replaced.keys]
    # A key that is REVOKED in the backup already has its approval there, and stays as it is.
    revoked = {
        bytes(key_id)
        for key_id in connection.scalars(
            text("SELECT key_id FROM signing_keys WHERE state = :state"), {"state": _REVOKED}
        )
    }
    _run(connection, _TAKE_KEY, [key for key in keys if bytes(key[0]) not in revoked])
    _run(connection, _REVOKE_CLIENT, [(at, name) for name, at in replaced.revoked_clients])
    restored = {bytes(sha256) for sha256 in connection.scalars(text(_GATE_CREDENTIALS))}
    _run(connection, _REMOVE_GATE_CREDENTIAL, [(one,) for one in restored - replaced.gate_credentials])
    _run(connection, _TAKE_GATE_LIST, replaced.gate_list)
    return 0, True


def _is_later(connection: Connection, replaced: Replaced) -> bool:
    """Tell whether the replaced register is what became of this one: it has its newest signed key set.

    Otherwise it is another issuer's, such as one that was made just to be replaced, and its numbers say
    nothing.
    """
    newest = connection.scalar(text("SELECT signed FROM key_sets ORDER BY version DESC LIMIT 1"))
    return newest is None or bytes(newest) in {bytes(row[1]) for row in replaced.key_sets}


def _raise_numbers(connection: Connection, given: dict[str, int], *, skipped: int) -> None:
    """Have no number given again: SQLite goes on from those that it keeps in sqlite_sequence.

    Also for tables that a register of the first release does not have yet.
    """
    rows = connection.execute(text("SELECT name, seq FROM sqlite_sequence")).all()
    kept = {row.name: row.seq for row in rows}
    for table in _NUMBERED:
        number = max(kept.get(table, 0), given.get(table, 0)) + skipped
        connection.execute(text("DELETE FROM sqlite_sequence WHERE name = :name"), {"name": table})
        connection.execute(
            text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :seq)"),
            {"name": table, "seq": number},
        )


def _run(connection: Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    if rows:
        connection.exec_driver_sql(statement, list(rows))
