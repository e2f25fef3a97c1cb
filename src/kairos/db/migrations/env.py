"""Alembic's entry: `db/schema.py` hands it the open connection, inside the transaction and the lock that it holds."""

from alembic import context

from kairos.db.models import Base

context.configure(
    connection=context.config.attributes["connection"], target_metadata=Base.metadata, transactional_ddl=True
)
context.run_migrations()
