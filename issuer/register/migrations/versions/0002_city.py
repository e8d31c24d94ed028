"""The register a city can run: PostgreSQL, chained history, approvals, clients, imports, keys that rotate."""

from alembic import op

from issuer.register.migrations import city_conversion, city_tables, city_triggers

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables, carry over what a first-release register has, then close the history by triggers."""
    connection = op.get_bind()
    is_sqlite = connection.dialect.name == "sqlite"
    if is_sqlite:
        city_conversion.set_aside(connection)
    city_tables.metadata.create_all(connection, checkfirst=False)
    city_conversion.begin_history(connection)
    if is_sqlite:
        city_conversion.carry_over(connection)
    for trigger in city_triggers.SQLITE if is_sqlite else city_triggers.POSTGRESQL:
        connection.exec_driver_sql(trigger)
