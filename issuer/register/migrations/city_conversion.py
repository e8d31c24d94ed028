"""Revision 0002, frozen: what a SQLite register of the first release has, in the tables of this one.

The outbox is emptied, and so is the publication: the issuer then rebuilds Redis at its next start.
"""

import hashlib
import struct
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, insert, update

from issuer.register.migrations import city_tables as new

_TABLES = (
    *("holders", "credentials", "status_changes", "holder_status"),
    *("outbox", "publication", "signing_keys", "key_sets"),
)
_INDEXES = ("ix_credentials_holder_id", "status_changes_of_holder")
_TRIGGERS = ("status_changes_refuse_update", "status_changes_refuse_delete")
_ROWS_AT_A_TIME = 10_000

_ZERO_HASH = bytes(32)
_TAG = b"GLH1"
_NO_APPROVAL = -1
_NO_EXTERNAL_ID = b"\xff\xff\xff\xff"
_MANUAL = 1

_ACTIVE = 2
# The first release did not note until when its codes are in force; printed ones were for 180 days.
_LONGEST_CODE_S = 180 * 86_400

# Statements that carry a table over; the columns that are new get what an older register means.
_COPIES = (
    """INSERT INTO holders (id, name, document_type, document_hash, document_last_four, region, enrolled_at)
       SELECT id, name, document_type, document_hash, document_last_four, region, enrolled_at
       FROM first_holders ORDER BY id""",
    """INSERT INTO credentials (credential_index, holder_id, kind, generation, state, issued_at)
       SELECT credential_index, holder_id, kind, generation, state, issued_at
       FROM first_credentials ORDER BY credential_index""",
    """INSERT INTO holder_status (holder_id, colour, reason, last_negative_test_min)
       SELECT holder_id, colour, reason, last_negative_test_min
       FROM first_holder_status ORDER BY holder_id""",
    """INSERT INTO key_sets (version, signed, issued_at, expires_at)
       SELECT version, signed, issued_at, expires_at FROM first_key_sets""",
    # No number is given twice, not even after the last rows were deleted or a backup was restored.
    "DELETE FROM sqlite_sequence WHERE name IN ('holders', 'credentials', 'outbox')",
    """INSERT INTO sqlite_sequence (name, seq)
       SELECT substr(name, length('first_') + 1), seq FROM sqlite_sequence
       WHERE name IN ('first_holders', 'first_credentials', 'first_outbox')""",
)


def set_aside(connection: Connection) -> None:
    """Give the tables other names, and take away what the names of the new ones would clash with."""
    for trigger in _TRIGGERS:
        connection.exec_driver_sql(f"DROP TRIGGER {trigger}")
    for index in _INDEXES:
        connection.exec_driver_sql(f"DROP INDEX {index}")
    for table in _TABLES:
        connection.exec_driver_sql(f"ALTER TABLE {table} RENAME TO first_{table}")


def begin_history(connection: Connection) -> None:
    """Enter the head of an empty history."""
    connection.execute(insert(new.history_head).values(id=1, seq=0, own_hash=_ZERO_HASH))


def carry_over(connection: Connection) -> None:
    """Fill the new tables from the old ones, and drop those."""
    for copy in _COPIES:
        connection.exec_driver_sql(copy)
    _carry_over_history(connection)
    _carry_over_keys(connection)
    for table in reversed(_TABLES):
        connection.exec_driver_sql(f"DROP TABLE first_{table}")
    connection.exec_driver_sql("DROP TABLE schema_version")


def _carry_over_history(connection: Connection) -> None:
    """Chain the changes by hashes, in their order and numbered anew without gaps; all were made by hand."""
    own_hash = _ZERO_HASH
    seq = 0
    rows = connection.exec_driver_sql(
        """SELECT holder_id, colour, reason, negative_test_min, authority, operator, changed_at
           FROM first_status_changes ORDER BY seq"""
    )
    for page in rows.partitions(_ROWS_AT_A_TIME):
        converted = []
        for row in page:
            seq, previous_hash = seq + 1, own_hash
            own_hash = hashlib.sha256(previous_hash + _encode(seq, row)).digest()
            converted.append((seq, *row, previous_hash, own_hash))
        connection.exec_driver_sql(
            """INSERT INTO status_changes (seq, holder_id, colour, reason, negative_test_min, authority,
                   operator, changed_at, previous_hash, own_hash, valid_until, evidence, source)
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, '', 1)""",
            converted,
        )
    connection.execute(update(new.history_head).values(seq=seq, own_hash=own_hash))


def _encode(seq: int, row: Sequence[Any]) -> bytes:
    """Return the encoding GLH1 of a change (issuer/register/history.py) as it was at this revision."""
    holder_id, colour, reason, negative_test_min, authority, operator, changed_at = row
    numbers = (seq, holder_id, colour, reason, negative_test_min, 0, _MANUAL, changed_at, _NO_APPROVAL)
    texts = (authority.encode(), operator.encode(), b"")
    encoded = [_TAG, struct.pack(">9q", *numbers)]
    for value in texts:
        encoded += (struct.pack(">I", len(value)), value)
    return b"".join((*encoded, _NO_EXTERNAL_ID))


def _carry_over_keys(connection: Connection) -> None:
    """Enter the signing keys: all were active, from the day they were made."""
    latest = connection.exec_driver_sql("SELECT CAST(strftime('%s', 'now') AS INTEGER)").scalar_one()
    connection.exec_driver_sql(
        """INSERT INTO signing_keys (key_id, public_key, state, created_at, published_at, activated_at,
               last_expires_at)
           SELECT key_id, public_key, ?, created_at, created_at, created_at, ? FROM first_signing_keys""",
        (_ACTIVE, latest + _LONGEST_CODE_S),
    )
