"""Alembic's entry: runs on the connection and with the role names that `warehouse.migrate` hands over."""

from alembic import context

from stax_pipeline.warehouse.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table="alembic_version",
    version_table_schema="stax",
    include_schemas=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
