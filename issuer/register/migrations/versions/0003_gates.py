"""The gates that verifiers let in, and the policy of each group of them."""

from alembic import op
from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
)

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# Frozen. issuer/register/schema.py says what they are for.
_metadata = MetaData()

Table(
    "gate_groups",
    _metadata,
    Column("name", String, primary_key=True),
    Column("max_test_age_s", BigInteger, nullable=True),
    Column("max_status_age_ms", BigInteger, nullable=True),
    Column("yellow_opens", Boolean, nullable=False),
    Column("is_one_entry", Boolean, nullable=False),
    Column("paper_entry_s", BigInteger, nullable=False),
)
Table(
    "gates",
    _metadata,
    Column("gate_id", String, primary_key=True),
    Column("group_name", ForeignKey("gate_groups.name"), nullable=False, index=True),
    Column("added_at", BigInteger, nullable=False),
)
Table(
    "gate_credentials",
    _metadata,
    Column("sha256", LargeBinary, primary_key=True),
    Column("gate_id", ForeignKey("gates.gate_id"), nullable=False, index=True),
    Column("is_certificate", Boolean, nullable=False),
    Column("added_at", BigInteger, nullable=False),
)
Table(
    "gate_list",
    _metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("version", BigInteger, nullable=False),
    Column("issued_at", BigInteger, nullable=False),
    CheckConstraint("id = 1", name="there_is_one_gate_list"),
)


def upgrade() -> None:
    """Make the tables, empty."""
    _metadata.create_all(op.get_bind(), checkfirst=False)
