"""The tables of the register, and its version.

The status of a holder is the sum of its changes. `status_changes` is append-only, which triggers hold
for every program that opens the file; `holder_status` is kept beside it for reading.

`outbox` holds the status records that Redis does not have yet. It is written in the transaction of the
change itself, so a change cannot be acknowledged and then forgotten.
"""

from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    TypeDecorator,
    event,
)
from sqlalchemy.engine import Dialect

SCHEMA_VERSION = 1

metadata = MetaData()


class Unsigned64(TypeDecorator[int]):
    """A number under 2**64 in a database whose integers are signed: the same 64 bits."""

    impl = Integer
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        """Return the number as SQL has it."""
        return None if value is None else (value ^ (1 << 63)) - (1 << 63)

    def process_result_value(self, value: int | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        """Return the number as we have it."""
        return None if value is None else value & (1 << 64) - 1


schema_version = Table("schema_version", metadata, Column("version", Integer, nullable=False))

holders = Table(
    "holders",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String, nullable=False),
    Column("document_type", String, nullable=False),
    # One person is on the register once: a second entry could be green while the first is red.
    Column("document_hash", LargeBinary, nullable=False, unique=True),
    Column("document_last_four", String, nullable=False),
    Column("region", String, nullable=False),
    Column("enrolled_at", Integer, nullable=False),
    sqlite_autoincrement=True,
)

credentials = Table(
    "credentials",
    metadata,
    Column("credential_index", Integer, primary_key=True),  # dense from 1, as records lie in Redis
    Column("holder_id", ForeignKey(holders.c.id), nullable=False, index=True),
    Column("kind", Integer, nullable=False),  # wire.code.CredentialKind
    Column("generation", Integer, nullable=False),  # from 1 on
    Column("state", Integer, nullable=False),  # wire.status_record.CredentialState
    Column("issued_at", Integer, nullable=False),
    CheckConstraint("credential_index BETWEEN 1 AND 4294967295"),
    sqlite_autoincrement=True,
)

status_changes = Table(
    "status_changes",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("holder_id", ForeignKey(holders.c.id), nullable=False),
    Column("colour", Integer, nullable=False),  # wire.status_record.Colour
    Column("reason", Integer, nullable=False),
    Column("negative_test_min", Integer, nullable=False),  # Unix minutes, as reported; 0: nothing new
    Column("authority", String, nullable=False),
    Column("operator", String, nullable=False),
    Column("changed_at", Integer, nullable=False),
    Index("status_changes_of_holder", "holder_id", "seq"),
    sqlite_autoincrement=True,
)

holder_status = Table(
    "holder_status",
    metadata,
    Column("holder_id", ForeignKey(holders.c.id), primary_key=True),
    Column("colour", Integer, nullable=False),
    Column("reason", Integer, nullable=False),
    Column("last_negative_test_min", Integer, nullable=False),  # Unix minutes; 0: none known
)

outbox = Table(
    "outbox",
    metadata,
    Column("seq", Integer, primary_key=True),  # never given twice, so that order is kept over restarts
    Column("credential_index", Integer, nullable=False),
    Column("record", Unsigned64, nullable=False),
    sqlite_autoincrement=True,
)

publication = Table(
    "publication",
    metadata,
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("epoch", String, nullable=False),
    Column("feed_id", String, nullable=False),  # the last entry written that has to be in the feed
)

signing_keys = Table(
    "signing_keys",
    metadata,
    Column("key_id", LargeBinary, primary_key=True),
    Column("public_key", LargeBinary, nullable=False),
    Column("state", String, nullable=False),
    Column("created_at", Integer, nullable=False),
)

key_sets = Table(
    "key_sets",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("signed", LargeBinary, nullable=False),
    Column("issued_at", Integer, nullable=False),
    Column("expires_at", Integer, nullable=False),
)


@event.listens_for(status_changes, "after_create")
def _refuse_changes(_table: Table, connection: Connection, **_options: Any) -> None:
    for verb in ("UPDATE", "DELETE"):
        connection.exec_driver_sql(
            f"CREATE TRIGGER status_changes_refuse_{verb.lower()} BEFORE {verb} ON status_changes "
            "BEGIN SELECT RAISE(ABORT, 'status_changes is append-only'); END"
        )
