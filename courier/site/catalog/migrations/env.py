"""Runs migrations on the connection that `courier.site.catalog.database` passes."""

from alembic import context

from courier.site.catalog.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
