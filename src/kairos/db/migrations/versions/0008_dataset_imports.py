"""Dataset imports: one at a time in a project; imported rows may share a prompt."""

from pathlib import Path

from alembic import op

from kairos.db.migrations.security import isolate_by_project

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    for statement in Path(__file__).with_suffix(".sql").read_text().split(";\n"):
        op.execute(statement)
    isolate_by_project("dataset_imports")


def downgrade() -> None:
    raise NotImplementedError("Kairos does not migrate down: restore the backup made before the upgrade.")
