"""The tables of the register.

The status of a holder is the sum of its changes. `status_changes` is append-only and chained by hashes,
which triggers and `status verify-history` hold; `holder_status` is kept beside it for reading.

`outbox` names the credentials whose record Redis does not have yet. It is written in the transaction of
the change itself, so a change cannot be acknowledged and then forgotten.

Times are Unix seconds unless the column says `_min`: Unix minutes. The migrations in
issuer/register/migrations make these tables, and a test compares the two.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
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

# SQLite gives ids by itself to the type INTEGER alone, whose numbers have 64 bits there.
_Id = BigInteger().with_variant(Integer, "sqlite")

metadata = MetaData()

holders = Table(
    "holders",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("name", String, nullable=False),  # as given; empty when erased
    Column("document_type", String, nullable=False),  # empty when erased
    # One person is on the register once: a second entry could be green while the first is red. NULL when
    # erased.
    Column("document_hash", LargeBinary, nullable=True, unique=True),
    # The first bytes of the hash of the key that made it, so that the key can be changed.
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
    Column("credential_index", _Id, primary_key=True),  # dense from 1, as records lie in Redis
    Column("holder_id", ForeignKey(holders.c.id), nullable=False, index=True),
    Column("kind", Integer, nullable=False),  # wire.code.CredentialKind
    Column("generation", Integer, nullable=False),  # from 1 on
    Column("state", Integer, nullable=False),  # entries.CredentialStanding
    Column("app_client_id", ForeignKey("clients.id"), nullable=True),  # who may fetch its bundles
    Column("issued_at", BigInteger, nullable=False),
    Column("valid_until", BigInteger, nullable=True),
    Column("external_id", String, nullable=True, unique=True),
    CheckConstraint("credential_index BETWEEN 1 AND 4294967295", name="credential_index_has_32_bits"),
    sqlite_autoincrement=True,
)
# What expires by itself and has not yet.
Index(
    "credentials_to_expire",
    credentials.c.valid_until,
    sqlite_where=text("valid_until IS NOT NULL AND state IN (1, 2)"),
    postgresql_where=text("valid_until IS NOT NULL AND state IN (1, 2)"),
)

status_changes = Table(
    "status_changes",
    metadata,
    # From 1 on without gaps: given by us, under history_head.
    Column("seq", _Id, primary_key=True, autoincrement=False),
    Column("holder_id", ForeignKey(holders.c.id), nullable=False),
    Column("colour", Integer, nullable=False),  # wire.status_record.Colour; 0: it stays (a test)
    Column("reason", Integer, nullable=False),
    Column("negative_test_min", BigInteger, nullable=False),  # as reported; 0: nothing about tests
    Column("valid_until", BigInteger, nullable=False),  # 0: it does not end by itself
    Column("authority", String, nullable=False),
    Column("operator", String, nullable=False),  # the name of the client that entered it
    Column("evidence", String, nullable=False),
    Column("source", Integer, nullable=False),  # entries.ChangeSource
    Column("approval_id", ForeignKey("approvals.id"), nullable=True),
    Column("external_id", String, nullable=True),
    Column("changed_at", BigInteger, nullable=False),
    Column("previous_hash", LargeBinary, nullable=False),  # 32 bytes, zeros before the first
    Column("own_hash", LargeBinary, nullable=False),  # issuer/register/history.py
    Index("status_changes_of_holder", "holder_id", "seq"),
)
# Imports are idempotent. A decision and a test may have the same id: they come from different systems.
Index(
    "status_changes_by_external_id",
    status_changes.c.external_id,
    status_changes.c.source,
    unique=True,
    sqlite_where=text("external_id IS NOT NULL"),
    postgresql_where=text("external_id IS NOT NULL"),
)
# What one client changed lately without a second person. 1 is MANUAL, 2 IMPORT.
Index(
    "status_changes_without_consent",
    status_changes.c.operator,
    status_changes.c.changed_at,
    sqlite_where=text("approval_id IS NULL AND source IN (1, 2)"),
    postgresql_where=text("approval_id IS NULL AND source IN (1, 2)"),
)
# Who turned holders red by hand lately: 1 is MANUAL, 3 RED.
Index(
    "status_changes_reds_by_hand",
    status_changes.c.changed_at,
    sqlite_where=text("source = 1 AND colour = 3"),
    postgresql_where=text("source = 1 AND colour = 3"),
)

history_head = Table(
    "history_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # 1, the only row
    Column("seq", BigInteger, nullable=False),  # of the last change; 0 before the first
    Column("own_hash", LargeBinary, nullable=False),
    CheckConstraint("id = 1", name="history_has_one_head"),
)

holder_status = Table(
    "holder_status",
    metadata,
    Column("holder_id", ForeignKey(holders.c.id), primary_key=True, autoincrement=False),
    Column("colour", Integer, nullable=False),
    Column("reason", Integer, nullable=False),
    Column("last_negative_test_min", BigInteger, nullable=False),  # 0: none known
    Column("valid_until", BigInteger, nullable=True),  # NULL: the colour does not end by itself
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
    Column("seq", _Id, primary_key=True),  # never given twice, so that order is kept over restarts
    Column("credential_index", BigInteger, nullable=False),
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
    Column("state", Integer, nullable=False),  # keys.lifecycle.KeyState
    Column("created_at", BigInteger, nullable=False),
    Column("published_at", BigInteger, nullable=True),  # first in a published key set
    Column("activated_at", BigInteger, nullable=True),
    Column("ended_at", BigInteger, nullable=True),  # retired or revoked
    Column(
        "last_expires_at", BigInteger, nullable=False
    ),  # end of the last window it may have signed; 0 none
    Column("approval_id", ForeignKey("approvals.id"), nullable=True),  # of its revocation
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
    Column("roles", String, nullable=False),  # access.roles.Role by name, sorted, with commas between
    # How it is known: SHA-256 of its bearer key or of its certificate.
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
    Column("kind", Integer, nullable=False),  # access.approvals.ApprovalKind
    Column("payload", LargeBinary, nullable=False),  # what is to be carried out
    Column("summary", String, nullable=False),
    Column("requested_by", ForeignKey(clients.c.id), nullable=False),
    Column("requested_at", BigInteger, nullable=False),
    Column("state", Integer, nullable=False),  # access.approvals.ApprovalState
    Column("settled_by", ForeignKey(clients.c.id), nullable=True),
    Column("settled_at", BigInteger, nullable=True),
    Column("outcome", String, nullable=False),  # lines
    # The second person is another person: 2 is APPROVED, 5 is FAILED.
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
    # How many changes to each colour the consent still covers.
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
    Column("outcome", String, nullable=False),  # gRPC status code by name; empty while under way
    Index("calls_of_client", "client_id", "seq"),
    sqlite_autoincrement=True,
)

scans = Table(
    "scans",
    metadata,
    # archive.entries.identity_of: what is shipped twice is stored once.
    Column("identity", LargeBinary, primary_key=True),
    # What gates and scanners call themselves is anybody's text, with NUL in it if they like: bytes (UTF-8)
    # as they came. A gate_id is cut before a slash that is not its first byte: gate + lane is what was said.
    Column("scan_id", LargeBinary, nullable=False),
    Column("gate", LargeBinary, nullable=False),
    Column("lane", LargeBinary, nullable=False),
    Column("verified_at_ms", BigInteger, nullable=False),
    Column("credential_index", BigInteger, nullable=False),  # 0: the code is not authentic
    # As numbers of verifier.proto; newer verifiers may have more.
    Column("kind", Integer, nullable=False),
    Column("not_before", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("verdict", Integer, nullable=False),
    Column("colour", Integer, nullable=False),
    Column("status_age_ms", BigInteger, nullable=False),
    Column("code_hash", LargeBinary, nullable=False),
    Index("scans_at_gate", "gate", "verified_at_ms"),
    Index("scans_by_time", "verified_at_ms"),
)
Index(
    "scans_of_credential",
    scans.c.credential_index,
    scans.c.verified_at_ms,
    sqlite_where=text("credential_index > 0"),
    postgresql_where=text("credential_index > 0"),
)

suspects = Table(
    "suspects",
    metadata,
    Column("seq", _Id, primary_key=True),
    # archive.suspects.Suspect.identity: each pair is reported once.
    Column("identity", LargeBinary, nullable=False, unique=True),
    Column("credential_index", BigInteger, nullable=False),
    Column("kind", Integer, nullable=False),
    Column("first_gate_id", LargeBinary, nullable=False),  # with its lane
    Column("first_at_ms", BigInteger, nullable=False),
    Column("second_gate_id", LargeBinary, nullable=False),
    Column("second_at_ms", BigInteger, nullable=False, index=True),
    sqlite_autoincrement=True,
)

purges = Table(
    "purges",
    metadata,
    Column("seq", _Id, primary_key=True),
    Column("purged_at", BigInteger, nullable=False),
    Column("before_ms", BigInteger, nullable=False),
    Column("retention_days", Integer, nullable=False),
    Column("is_daily", Integer, nullable=False),  # 1: by the archive, whose retention it tells; 0: by hand
    Column("is_done", Integer, nullable=False),  # 0: under way, slice by slice, or cut short
    # Counted in the transaction of each slice, so they hold wherever a purge was cut short.
    Column("scans", BigInteger, nullable=False),
    Column("suspects", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

gate_groups = Table(
    "gate_groups",
    metadata,
    Column("name", String, primary_key=True),
    Column("max_test_age_s", BigInteger, nullable=True),  # NULL asks nothing, as below
    Column("max_status_age_ms", BigInteger, nullable=True),
    Column("yellow_opens", Boolean, nullable=False),
    Column("is_one_entry", Boolean, nullable=False),
    Column("paper_entry_s", BigInteger, nullable=False),
)

gates = Table(
    "gates",
    metadata,
    Column("gate_id", String, primary_key=True),
    Column("group_name", ForeignKey(gate_groups.c.name), nullable=False, index=True),
    Column("added_at", BigInteger, nullable=False),
)

gate_credentials = Table(
    "gate_credentials",
    metadata,
    # Of a bearer key or a certificate. It is one gate's: nobody could tell otherwise which of them asks.
    Column("sha256", LargeBinary, primary_key=True),
    Column("gate_id", ForeignKey(gates.c.gate_id), nullable=False, index=True),
    Column("is_certificate", Boolean, nullable=False),
    Column("added_at", BigInteger, nullable=False),
)

# What verifiers compare gate lists by. The signed list itself is made of the tables above and not kept here:
# it may be megabytes, and each start signs another one.
gate_list = Table(
    "gate_list",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # 1, the only row; none before the first
    Column("version", BigInteger, nullable=False),  # of the newest list, signed already or about to be
    Column("issued_at", BigInteger, nullable=False),  # never goes back, whatever the clock does
    CheckConstraint("id = 1", name="there_is_one_gate_list"),
)
