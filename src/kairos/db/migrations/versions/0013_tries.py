"""Allows several adapters per training run, one for each try that the gate measured."""

from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.execute("ALTER TABLE adapters DROP CONSTRAINT adapters_project_id_run_id_key")
    op.execute("CREATE INDEX adapters_of_run ON adapters (project_id, run_id)")


def downgrade() -> None:
    raise NotImplementedError("Kairos does not migrate down: restore the backup made before the upgrade.")
