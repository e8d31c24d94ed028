"""The tables of revision 0002, frozen. issuer/register/schema.py says what they are for."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    text,
)

_Id = BigInteger().with_variant(Integer, "sqlite")

metadata = MetaData()

holders = Table(
    "holders",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("name", String, nullable=False),
    Column("document_type", String, nullable=False),
    Column("document_hash", LargeBinary, nullable=True, unique=True),
    Column("document_key_id", LargeBinary, nullable=True),
    Column("document_last_four", String, nullable=False),
    Column("region", String, nullable=False),
    Column("guardian_id", ForeignKey("holders.id"), nullable=True),
    Column("external_id", String, nullable=True, unique=True),
    Column("enrolled_at", BigInteger, nullable=False),
    Column("erased_at", BigInteger, nullable=True),
    sqlite_autoincrement=True,
)
Index(
    "holders_of_guardian",
    holders.c.guardian_id,
    sqlite_where=holders.c.guardian_id.is_not(None),
    postgresql_where=holders.c.guardian_id.is_not(None),
)

credentials = Table(
    "credentials",
    metadata,
    Column("credential_index", _Id, primary_key=True),
    Column("holder_id", ForeignKey(holders.c.id), nullable=False, index=True),
    Column("kind", Integer, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("state", Integer, nullable=False),
    Column("app_client_id", ForeignKey("clients.id"), nullable=True),
    Column("issued_at", BigInteger, nullable=False),
    Column("valid_until", BigInteger, nullable=True),
    Column("external_id", String, nullable=True, unique=True),
    CheckConstraint("credential_index BETWEEN 1 AND 4294967295", name="credential_index_has_32_bits"),
    sqlite_autoincrement=True,
)
Index(
    "credentials_to_expire",
    credentials.c.valid_until,
    sqlite_where=text("valid_until IS NOT NULL AND state IN (1, 2)"),
    postgresql_where=text("valid_until IS NOT NULL AND state IN (1, 2)"),
)

status_changes = Table(
    "status_changes",
    metadata,
    Column("seq", _Id, primary_key=True, autoincrement=False),
    Column("holder_id", ForeignKey(holders.c.id), nullable=False),
    Column("colour", Integer, nullable=False),
    Column("reason", Integer, nullable=False),
    Column("negative_test_min", BigInteger, nullable=False),
    Column("valid_until", BigInteger, nullable=False),
    Column("authority", String, nullable=False),
    Column("operator", String, nullable=False),
    Column("evidence", String, nullable=False),
    Column("source", Integer, nullable=False),
    Column("approval_id", ForeignKey("approvals.id"), nullable=True),
    Column("external_id", String, nullable=True),
    Column("changed_at", BigInteger, nullable=False),
    Column("previous_hash", LargeBinary, nullable=False),
    Column("own_hash", LargeBinary, nullable=False),
    Index("status_changes_of_holder", "holder_id", "seq"),
)
Index(
    "status_changes_by_external_id",
    status_changes.c.external_id,
    status_changes.c.source,
    unique=True,
    sqlite_where=text("external_id IS NOT NULL"),
    postgresql_where=text("external_id IS NOT NULL"),
)
Index(
    "status_changes_without_consent",
    status_changes.c.operator,
    status_changes.c.changed_at,
    sqlite_where=text("approval_id IS NULL AND source IN (1, 2)"),
    postgresql_where=text("approval_id IS NULL AND source IN (1, 2)"),
)
Index(
    "status_changes_reds_by_hand",
    status_changes.c.changed_at,
    sqlite_where=text("source = 1 AND colour = 3"),
    postgresql_where=text("source = 1 AND colour = 3"),
)

history_head = Table(
    "history_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),
    Column("own_hash", LargeBinary, nullable=False),
    CheckConstraint("id = 1", name="history_has_one_head"),
)

holder_status = Table(
    "holder_status",
    metadata,
    Column("holder_id", ForeignKey(holders.c.id), primary_key=True, autoincrement=False),
    Column("colour", Integer, nullable=False),
    Column("reason", Integer, nullable=False),
    Column("last_negative_test_min", BigInteger, nullable=False),
    Column("valid_until", BigInteger, nullable=True),
)
Index(
    "holder_status_to_end",
    holder_status.c.valid_until,
    sqlite_where=holder_status.c.valid_until.is_not(None),
    postgresql_where=holder_status.c.valid_until.is_not(None),
)

outbox = Table(
    "outbox",
    metadata,
    Column("seq", _Id, primary_key=True),
    Column("credential_index", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

publication = Table(
    "publication",
    metadata,
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("epoch", String, nullable=False),
    Column("feed_id", String, nullable=False),
)

signing_keys = Table(
    "signing_keys",
    metadata,
    Column("key_id", LargeBinary, primary_key=True),
    Column("public_key", LargeBinary, nullable=False),
    Column("state", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("published_at", BigInteger, nullable=True),
    Column("activated_at", BigInteger, nullable=True),
    Column("ended_at", BigInteger, nullable=True),
    Column("last_expires_at", BigInteger, nullable=False),
    Column("approval_id", ForeignKey("approvals.id"), nullable=True),
)

key_sets = Table(
    "key_sets",
    metadata,
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("signed", LargeBinary, nullable=False),
    Column("issued_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
)

clients = Table(
    "clients",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("name", String, nullable=False, unique=True),
    Column("roles", String, nullable=False),
    Column("bearer_key_sha256", LargeBinary, nullable=True, unique=True),
    Column("certificate_sha256", LargeBinary, nullable=True, unique=True),
    Column("added_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger, nullable=True),
    CheckConstraint(
        "(bearer_key_sha256 IS NULL) <> (certificate_sha256 IS NULL)", name="client_is_known_by_one_thing"
    ),
    sqlite_autoincrement=True,
)

approvals = Table(
    "approvals",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("kind", Integer, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("summary", String, nullable=False),
    Column("requested_by", ForeignKey(clients.c.id), nullable=False),
    Column("requested_at", BigInteger, nullable=False),
    Column("state", Integer, nullable=False),
    Column("settled_by", ForeignKey(clients.c.id), nullable=True),
    Column("settled_at", BigInteger, nullable=True),
    Column("outcome", String, nullable=False),
    CheckConstraint(
        "state NOT IN (2, 5) OR (settled_by IS NOT NULL AND settled_by <> requested_by)",
        name="approval_by_a_second_person",
    ),
    sqlite_autoincrement=True,
)

status_imports = Table(
    "status_imports",
    metadata,
    Column("approval_id", ForeignKey(approvals.c.id), primary_key=True, autoincrement=False),
    Column("file_sha256", LargeBinary, nullable=False),
    Column("green_left", BigInteger, nullable=False),
    Column("yellow_left", BigInteger, nullable=False),
    Column("red_left", BigInteger, nullable=False),
    CheckConstraint(
        "green_left >= 0 AND yellow_left >= 0 AND red_left >= 0", name="consent_is_not_overdrawn"
    ),
)

calls = Table(
    "calls",
    metadata,
    Column("seq", _Id, primary_key=True),
    Column("client_id", ForeignKey(clients.c.id), nullable=False),
    Column("method", String, nullable=False),
    Column("target", String, nullable=False),
    Column("called_at", BigInteger, nullable=False),
    Column("outcome", String, nullable=False),
    Index("calls_of_client", "client_id", "seq"),
    sqlite_autoincrement=True,
)
