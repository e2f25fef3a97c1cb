"""Providers and their models: shared ones, and the projects' own."""

from pathlib import Path

from alembic import op

from kairos.db.migrations.security import grant, isolate_by_project, policy, system_function

revision = "0012"
down_revision = "0011"

OPERATOR = "current_setting('kairos.operator', true) = 'on'"
NO_PROJECT = "nullif(current_setting('kairos.project_id', true), '') is null"
"""Daemons read the shared providers outside of any project."""


def upgrade() -> None:
    for statement in Path(__file__).with_suffix(".sql").read_text().split(";\n"):
        op.execute(statement)
    for table in ("providers", "provider_models"):
        policy(table, OPERATOR)
        op.execute(f"create policy daemon on {table} for select using ({NO_PROJECT})")
        grant(table, "select, insert, update, delete")
    for table in ("project_providers", "project_models"):
        isolate_by_project(table)
    # What a daemon compares every second: ids and a digest, nothing else of a project.
    system_function(
        "kairos_provider_states()",
        "table (project_id uuid, state text)",
        "select null::uuid, md5(string_agg(id::text || revision, ',' order by id)) from providers "
        "union all select project_id, md5(string_agg(id::text || revision, ',' order by id)) from project_providers "
        "group by project_id",
    )


def downgrade() -> None:
    raise NotImplementedError("Kairos does not migrate down: restore the backup made before the upgrade.")
