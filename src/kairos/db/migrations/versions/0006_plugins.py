"""Storage of plugins."""

from pathlib import Path

from alembic import op

from kairos.db.migrations.security import isolate_by_project

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.execute(Path(__file__).with_suffix(".sql").read_text())
    isolate_by_project("plugin_storage")


def downgrade() -> None:
    raise NotImplementedError("Kairos does not migrate down: restore the backup made before the upgrade.")
