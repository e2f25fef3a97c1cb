"""The learning loop: labelling of dataset rows, training runs, adapters and their lineage."""

from pathlib import Path

from alembic import op

from kairos.db.migrations.security import isolate_by_project, system_function

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    for statement in Path(__file__).with_suffix(".sql").read_text().split(";\n"):
        op.execute(statement)
    for table in ("training_runs", "adapters", "adapter_rows"):
        isolate_by_project(table)
    system_function(
        "kairos_projects_with_adapters()",
        "setof uuid",
        "select distinct project_id from adapters where state in ('canary', 'live')",
    )
    system_function(
        "kairos_training_due(fewest integer, every interval)",
        "setof uuid",
        """
        select d.project_id
        from fine_tuning_dataset d
        join projects p on p.id = d.project_id and p.archived_at is null and p.deleted_at is null
        left join lateral (
          select max(r.created_at) as begun,
                 bool_or(r.state in ('waiting', 'training', 'evaluating') and t.state in ('queued', 'running')) as going
          from training_runs r left join tasks t on t.project_id = r.project_id and t.id = r.task_id
          where r.project_id = d.project_id
        ) last on true
        where d.state = 'approved' and last.going is not true
          and (last.begun is null or coalesce(d.labelled_at, d.created_at) > last.begun)
        group by d.project_id, last.begun
        having (fewest is not null and count(*) >= fewest)
            or (every is not null and (last.begun is null or last.begun < now() - every))
        """,
    )


def downgrade() -> None:
    raise NotImplementedError("Kairos does not migrate down: restore the backup made before the upgrade.")
