"""The tables of revision 0004, frozen. issuer/register/schema.py says what they are for."""

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, Table, text

_Id = BigInteger().with_variant(Integer, "sqlite")

metadata = MetaData()

scans = Table(
    "scans",
    metadata,
    Column("identity", LargeBinary, primary_key=True),
    Column("scan_id", LargeBinary, nullable=False),
    Column("gate", LargeBinary, nullable=False),
    Column("lane", LargeBinary, nullable=False),
    Column("verified_at_ms", BigInteger, nullable=False),
    Column("credential_index", BigInteger, nullable=False),
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
    Column("identity", LargeBinary, nullable=False, unique=True),
    Column("credential_index", BigInteger, nullable=False),
    Column("kind", Integer, nullable=False),
    Column("first_gate_id", LargeBinary, nullable=False),
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
    Column("is_daily", Integer, nullable=False),
    Column("is_done", Integer, nullable=False),
    Column("scans", BigInteger, nullable=False),
    Column("suspects", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)
