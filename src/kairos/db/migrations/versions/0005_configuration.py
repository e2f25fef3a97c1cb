"""Live configuration: versions that override file and environment, and the version in force on each daemon."""

from pathlib import Path

from alembic import op

from kairos.db.migrations.security import grant, isolate_by_project, policy

revision = "0005"
down_revision = "0004"

OPERATOR = "current_setting('kairos.operator', true) = 'on'"


def upgrade() -> None:
    for statement in Path(__file__).with_suffix(".sql").read_text().split(";\n"):
        op.execute(statement)
    # Daemons read it without a user; it contains no secrets. Only operators write, and rows never change.
    policy("config_versions", "true", OPERATOR)
    grant("config_versions", "select, insert")
    isolate_by_project("project_config_versions")


def downgrade() -> None:
    raise NotImplementedError("Kairos does not migrate down: restore the backup made before the upgrade.")
