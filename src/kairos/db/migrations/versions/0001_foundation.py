"""Initial schema: users, projects, tasks, metrics, decisions, and their policies."""

from pathlib import Path

from alembic import op

from kairos.db.migrations.security import (
    grant,
    grant_lookup,
    isolate_by_project,
    policy,
    system_function,
)

revision = "0001"
down_revision = None

PROJECT_OWNED = (
    "tasks",
    "task_events",
    "model_performance_metrics",
    "routing_decisions",
    "verdicts",
    "fine_tuning_dataset",
)
USER = "nullif(current_setting('kairos.user_id', true), '')::uuid"
PROJECT = "nullif(current_setting('kairos.project_id', true), '')::uuid"
OPERATOR = "current_setting('kairos.operator', true) = 'on'"


def upgrade() -> None:
    for statement in Path(__file__).with_suffix(".sql").read_text().split(";\n"):
        op.execute(statement)
    for table in PROJECT_OWNED:
        isolate_by_project(table)
    _people()
    _lookups_before_a_user_is_known()
    _sweep()
    _partitions()


def _people() -> None:
    """Policies of tables without a project: users see their own rows and projects, operators see all."""
    member = f"exists (select from memberships m where m.project_id = {PROJECT} and m.user_id = users.id)"
    mine = f"exists (select from memberships m where m.project_id = projects.id and m.user_id = {USER})"
    policy("users", f"id = {USER} or {OPERATOR} or {member}")
    policy("projects", f"id = {PROJECT} or {OPERATOR} or {mine}", check=f"{USER} is not null or {OPERATOR}")
    policy("memberships", f"user_id = {USER} or project_id = {PROJECT} or {OPERATOR}")
    policy("sessions", f"user_id = {USER} or {OPERATOR}")
    policy("one_time_links", f"user_id = {USER} or {OPERATOR}")
    policy("signing_keys", "true")
    policy(
        "audit_log",
        f"project_id = {PROJECT} or user_id = {USER} or {OPERATOR}",
        check=f"project_id is null or project_id = {PROJECT} or {OPERATOR}",
    )
    for table in ("users", "projects", "memberships", "sessions", "one_time_links", "signing_keys"):
        grant(table, "select, insert, update, delete")
    grant("audit_log", "select, insert")


def _lookups_before_a_user_is_known() -> None:
    """Functions for sign-in by e-mail, refresh token or link, before a user is in scope."""
    grant_lookup(
        "kairos_user_by_email(wanted text)",
        "table(id uuid, name text, password_hash text, operator boolean, disabled boolean)",
        "select id, name, password_hash, operator, disabled_at is not null from users where email = lower(wanted)",
    )
    grant_lookup(
        "kairos_session_by_token(wanted bytea)",
        "table(id uuid, user_id uuid, reused boolean, rotated_at timestamptz)",
        """select id, user_id, previous_hash = wanted, rotated_at from sessions
           where (refresh_hash = wanted or previous_hash = wanted) and revoked_at is null and expires_at > now()""",
    )
    grant_lookup(
        "kairos_user_by_link(wanted bytea)",
        "table(user_id uuid, purpose text, usable boolean)",
        "select user_id, purpose, used_at is null and expires_at > now() from one_time_links where token_hash = wanted",
    )
    grant_lookup("kairos_has_users()", "boolean", "select exists (select from users)")


def _sweep() -> None:
    """Functions of the sweeper over all projects. They return ids and queue parameters, never content."""
    system_function(
        "kairos_expired_leases(lease interval, most int)",
        "table(project_id uuid, id uuid, lane text, epoch bigint)",
        # Leases cannot be renewed while PostgreSQL is down, so they are counted from its start at the earliest.
        """select project_id, id, lane, epoch from tasks
           where state = 'running' and greatest(lease_until, pg_postmaster_start_time() + lease) < now()
           order by lease_until limit most""",
    )
    system_function(
        "kairos_tasks_page(wanted text, after_id uuid, most int)",
        "table(project_id uuid, id uuid, lane text, priority bigint, created_at timestamptz, not_before timestamptz)",
        """select project_id, id, lane, priority, created_at, not_before from tasks
           where state = wanted and id > after_id order by id limit most""",
    )
    system_function(
        "kairos_still_running(ids uuid[])",
        "table(project_id uuid, id uuid)",
        "select project_id, id from tasks where state = 'running' and id = any(ids)",
    )


def _partitions() -> None:
    """Monthly partitions of the metrics, without grants: direct access to a partition would bypass the policy."""
    op.execute("""
        create function kairos_make_partitions(months int) returns int language plpgsql
        security definer set search_path = public, pg_temp as $$
        declare made int := 0; first_day date; name text;
        begin
          for step in 0 .. months loop
            first_day := date_trunc('month', now() at time zone 'utc')::date + make_interval(months => step);
            name := 'model_performance_metrics_' || to_char(first_day, 'YYYY_MM');
            if to_regclass(name) is null and not exists (
              select from only model_performance_metrics_default
              where at >= first_day and at < first_day + interval '1 month'
            ) then
              execute format(
                'create table %I partition of model_performance_metrics for values from (%L) to (%L)', name,
                first_day::timestamp at time zone 'utc',
                (first_day + interval '1 month')::timestamp at time zone 'utc');
              made := made + 1;
            end if;
          end loop;
          return made;
        end $$""")
    system_function("kairos_make_partitions(months int)", None, None)


def downgrade() -> None:
    raise NotImplementedError("Kairos does not migrate down: restore the backup made before the upgrade.")
