"""What the register knows of keys: the public ones, and the key sets that were signed.

The functions take the connection of a transaction, for those who do more in it; the methods of Keys are
transactions of their own.
"""

from collections.abc import Sequence

from sqlalchemy import Connection, func, insert, select, update

from issuer.errors import NotInitialised
from issuer.keys.lifecycle import Key, KeyState
from issuer.register.database import Database
from issuer.register.schema import key_sets, signing_keys
from verifier.wire.key_set import KeySet

_NEWEST_KEY_SET = select(key_sets.c.signed).order_by(key_sets.c.version.desc()).limit(1)


class Keys:
    """Public keys and key sets. Every method raises RegisterUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> Sequence[Key]:
        """Return all keys, the oldest first."""
        with self._database.read() as connection:
            return read_keys(connection)

    def newest_key_set(self) -> bytes:
        """Return the signed key set of the highest version; raises NotInitialised when there is none."""
        with self._database.read() as connection:
            return read_newest_key_set(connection)

    def reserve(self, key_id: bytes, last_expires_at: int) -> bool:
        """Note that a key may sign windows up to there; tell whether it still may, being ACTIVE."""
        is_this_one = (signing_keys.c.key_id == key_id) & (signing_keys.c.state == KeyState.ACTIVE)
        is_later = signing_keys.c.last_expires_at < last_expires_at
        with self._database.write() as connection:
            connection.execute(
                update(signing_keys).where(is_this_one, is_later).values(last_expires_at=last_expires_at)
            )
            return connection.scalar(select(signing_keys.c.key_id).where(is_this_one)) is not None


def read_keys(connection: Connection) -> Sequence[Key]:
    """Return all keys, the oldest first."""
    rows = connection.execute(
        select(signing_keys).order_by(signing_keys.c.created_at, signing_keys.c.key_id)
    ).all()
    return [
        Key(
            key_id=bytes(row.key_id),
            public_key=bytes(row.public_key),
            state=KeyState(row.state),
            created_at=row.created_at,
            published_at=row.published_at or 0,
            activated_at=row.activated_at or 0,
            ended_at=row.ended_at or 0,
            last_expires_at=row.last_expires_at,
        )
        for row in rows
    ]


def read_newest_key_set(connection: Connection) -> bytes:
    """Return the signed key set of the highest version; raises NotInitialised when there is none."""
    found = connection.scalar(_NEWEST_KEY_SET)
    if found is None:
        raise NotInitialised("the register has no key set: it was not made by gatelight-issuer init")
    return bytes(found)


def add_key(connection: Connection, key: Key) -> None:
    """Enter a key."""
    connection.execute(
        insert(signing_keys).values(
            key_id=key.key_id,
            public_key=key.public_key,
            state=key.state,
            created_at=key.created_at,
            published_at=key.published_at or None,
            activated_at=key.activated_at or None,
            ended_at=key.ended_at or None,
            last_expires_at=key.last_expires_at,
        )
    )


def activate_key(connection: Connection, key_id: bytes, *, now: int) -> bool:
    """Make a PREPARED key the one that signs; tell whether it was one.

    It is the one activated last, also when two are activated in a second, or the clock was set back.
    """
    newest = connection.scalar(select(func.max(signing_keys.c.activated_at))) or 0
    changed = connection.execute(
        update(signing_keys)
        .where(signing_keys.c.key_id == key_id, signing_keys.c.state == KeyState.PREPARED)
        .values(state=KeyState.ACTIVE, activated_at=max(now, newest + 1))
    )
    return changed.rowcount == 1


def retire_key(connection: Connection, key_id: bytes, *, skew_s: int, now: int) -> bool:
    """Retire an ACTIVE key, unless a code of it may be in force still; tell whether it was done.

    Somebody may have reserved a later window since the keys were read.
    """
    changed = connection.execute(
        update(signing_keys)
        .where(
            signing_keys.c.key_id == key_id,
            signing_keys.c.state == KeyState.ACTIVE,
            signing_keys.c.last_expires_at <= now - skew_s,
        )
        .values(state=KeyState.RETIRED, ended_at=now)
    )
    return changed.rowcount == 1


def revoke_key(connection: Connection, key_id: bytes, *, approval_id: int, now: int) -> bool:
    """Revoke a key for good; tell whether it was not revoked yet."""
    changed = connection.execute(
        update(signing_keys)
        .where(signing_keys.c.key_id == key_id, signing_keys.c.state != KeyState.REVOKED)
        .values(state=KeyState.REVOKED, ended_at=now, approval_id=approval_id)
    )
    return changed.rowcount == 1


def add_key_set(connection: Connection, key_set: KeySet, signed: bytes, *, now: int) -> None:
    """Enter a key set as it was signed; its keys are published from now on."""
    connection.execute(
        insert(key_sets).values(
            version=key_set.version,
            signed=signed,
            issued_at=key_set.issued_at,
            expires_at=key_set.expires_at,
        )
    )
    connection.execute(
        update(signing_keys)
        .where(signing_keys.c.key_id.in_(list(key_set.keys)), signing_keys.c.published_at.is_(None))
        .values(published_at=now)
    )
