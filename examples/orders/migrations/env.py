"""Run by Alembic with the connection, and inside the transaction, that `database.migrate` opened."""

from alembic import context

from examples.orders.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
