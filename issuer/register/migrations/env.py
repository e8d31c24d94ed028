"""Run by Alembic: the migrations, on the connection of issuer/register/migrate.py, in its transaction."""

from alembic import context

from issuer.register.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite alters little
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
