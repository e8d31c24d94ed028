"""What the register knows of keys: the public ones, and the key sets that were signed."""

from sqlalchemy import insert, select

from issuer.errors import NotInitialised
from issuer.register.database import Database
from issuer.register.schema import key_sets, signing_keys
from verifier.wire import cose
from verifier.wire.key_set import KeySet

_ACTIVE = "ACTIVE"


class Keys:
    """Public keys and key sets. Every method raises RegisterUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_active_key(self, public_key: bytes, *, now: int) -> None:
        """Enter the signing key that is in use from now on."""
        row = {
            "key_id": cose.key_id(public_key),
            "public_key": public_key,
            "state": _ACTIVE,
            "created_at": now,
        }
        with self._database.write() as connection:
            connection.execute(insert(signing_keys), row)

    def active_key_id(self) -> bytes:
        """Return the key_id of the signing key in use; raises NotInitialised when there is none."""
        with self._database.read() as connection:
            found = connection.scalar(select(signing_keys.c.key_id).where(signing_keys.c.state == _ACTIVE))
        if found is None:
            raise NotInitialised("the register has no active signing key")
        return bytes(found)

    def add_key_set(self, key_set: KeySet, signed: bytes) -> None:
        """Enter a key set as it was signed."""
        row = {
            "version": key_set.version,
            "signed": signed,
            "issued_at": key_set.issued_at,
            "expires_at": key_set.expires_at,
        }
        with self._database.write() as connection:
            connection.execute(insert(key_sets), row)

    def newest_key_set(self) -> bytes:
        """Return the signed key set of the highest version; raises NotInitialised when there is none."""
        with self._database.read() as connection:
            found = connection.scalar(select(key_sets.c.signed).order_by(key_sets.c.version.desc()).limit(1))
        if found is None:
            raise NotInitialised("the register has no key set")
        return bytes(found)
