"""Adds the model's reasoning to verdicts."""

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.execute("ALTER TABLE verdicts ADD COLUMN reasoning TEXT DEFAULT '' NOT NULL")


def downgrade() -> None:
    raise NotImplementedError("Kairos does not migrate down: restore the backup made before the upgrade.")
