"""Entry point of Alembic. `db/schema.py` passes the open connection, within its transaction and lock."""

from alembic import context

from kairos.db.models import Base

context.configure(
    connection=context.config.attributes["connection"], target_metadata=Base.metadata, transactional_ddl=True
)
context.run_migrations()
