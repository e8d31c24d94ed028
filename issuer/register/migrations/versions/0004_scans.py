"""The archive of scans: what verifiers told, suspected copies, and reports of what was removed."""

from alembic import op

from issuer.register.migrations import scan_tables

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    scan_tables.metadata.create_all(op.get_bind(), checkfirst=False)
