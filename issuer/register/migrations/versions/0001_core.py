"""The register of the first release. It knew SQLite only, so there is nothing to make on PostgreSQL."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TABLES = (
    "CREATE TABLE schema_version (version INTEGER NOT NULL)",
    """CREATE TABLE holders (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        name VARCHAR NOT NULL,
        document_type VARCHAR NOT NULL,
        document_hash BLOB NOT NULL UNIQUE,
        document_last_four VARCHAR NOT NULL,
        region VARCHAR NOT NULL,
        enrolled_at INTEGER NOT NULL
    )""",
    """CREATE TABLE credentials (
        credential_index INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        holder_id INTEGER NOT NULL REFERENCES holders (id),
        kind INTEGER NOT NULL,
        generation INTEGER NOT NULL,
        state INTEGER NOT NULL,
        issued_at INTEGER NOT NULL,
        CHECK (credential_index BETWEEN 1 AND 4294967295)
    )""",
    "CREATE INDEX ix_credentials_holder_id ON credentials (holder_id)",
    """CREATE TABLE status_changes (
        seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        holder_id INTEGER NOT NULL REFERENCES holders (id),
        colour INTEGER NOT NULL,
        reason INTEGER NOT NULL,
        negative_test_min INTEGER NOT NULL,
        authority VARCHAR NOT NULL,
        operator VARCHAR NOT NULL,
        changed_at INTEGER NOT NULL
    )""",
    "CREATE INDEX status_changes_of_holder ON status_changes (holder_id, seq)",
    """CREATE TRIGGER status_changes_refuse_update BEFORE UPDATE ON status_changes
        BEGIN SELECT RAISE(ABORT, 'status_changes is append-only'); END""",
    """CREATE TRIGGER status_changes_refuse_delete BEFORE DELETE ON status_changes
        BEGIN SELECT RAISE(ABORT, 'status_changes is append-only'); END""",
    """CREATE TABLE holder_status (
        holder_id INTEGER NOT NULL PRIMARY KEY REFERENCES holders (id),
        colour INTEGER NOT NULL,
        reason INTEGER NOT NULL,
        last_negative_test_min INTEGER NOT NULL
    )""",
    """CREATE TABLE outbox (
        seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        credential_index INTEGER NOT NULL,
        record INTEGER NOT NULL
    )""",
    """CREATE TABLE publication (
        partition INTEGER NOT NULL PRIMARY KEY,
        epoch VARCHAR NOT NULL,
        feed_id VARCHAR NOT NULL
    )""",
    """CREATE TABLE signing_keys (
        key_id BLOB NOT NULL PRIMARY KEY,
        public_key BLOB NOT NULL,
        state VARCHAR NOT NULL,
        created_at INTEGER NOT NULL
    )""",
    """CREATE TABLE key_sets (
        version INTEGER NOT NULL PRIMARY KEY,
        signed BLOB NOT NULL,
        issued_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL
    )""",
)


def upgrade() -> None:
    """Make the tables of the first release."""
    if op.get_bind().dialect.name == "sqlite":
        for table in _TABLES:
            op.execute(table)
