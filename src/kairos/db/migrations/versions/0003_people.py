"""Invitations, API keys, labels and live events, for several projects and users in one installation."""

from pathlib import Path

from alembic import op

from kairos.db.migrations.security import grant, grant_lookup, isolate_by_project, policy, system_function

revision = "0003"
down_revision = "0002"

USER = "nullif(current_setting('kairos.user_id', true), '')::uuid"
PROJECT = "nullif(current_setting('kairos.project_id', true), '')::uuid"
OPERATOR = "current_setting('kairos.operator', true) = 'on'"


def upgrade() -> None:
    op.execute("drop function kairos_session_by_token(bytea)")
    for statement in Path(__file__).with_suffix(".sql").read_text().split(";\n"):
        op.execute(statement)
    for table in ("invitations", "api_keys", "task_labels"):
        isolate_by_project(table)
    policy("event_tickets", f"user_id = {USER} or {OPERATOR}")
    policy("replicas", "true")
    for table in ("event_tickets", "replicas"):
        grant(table, "select, insert, update, delete")
    # Memberships are written in the project's scope or by an operator: users cannot add themselves to a project.
    op.execute("drop policy scope on memberships")
    op.execute(
        f"create policy scope on memberships using (user_id = {USER} or project_id = {PROJECT} or {OPERATOR}) "
        f"with check (project_id = {PROJECT} or {OPERATOR})"
    )
    _lookups()
    _erasure()
    _retention()


def _lookups() -> None:
    """Lookups by credential, before a user or a project is known."""
    grant_lookup(
        "kairos_session(wanted uuid)",
        "table(user_id uuid, generation bigint, rotated_at timestamptz)",
        """select user_id, generation, rotated_at from sessions
           where id = wanted and revoked_at is null and expires_at > now()""",
    )
    grant_lookup(
        "kairos_invitation(wanted bytea)",
        """table(project_id uuid, id uuid, project_name text, role text, email text, invited_by text,
                 expires_at timestamptz)""",
        """select i.project_id, i.id, p.name, i.role, i.email, coalesce(u.name, ''), i.expires_at
           from invitations i join projects p on p.id = i.project_id left join users u on u.id = i.created_by
           where i.token_hash = wanted and i.accepted_at is null and i.revoked_at is null and i.expires_at > now()
             and p.archived_at is null and p.deleted_at is null""",
    )
    grant_lookup(
        "kairos_api_keys(wanted text)",
        "table(project_id uuid, id uuid, key_hash bytea)",
        """select project_id, id, key_hash from api_keys
           where prefix = wanted and revoked_at is null and (expires_at is null or expires_at > now())""",
    )
    # For the audit log of refused attempts: returns a project id only, which never leaves the daemon.
    system_function(
        "kairos_project_of(wanted uuid)",
        "uuid",
        """select id from projects where id = wanted
           union all select project_id from tasks where id = wanted limit 1""",
    )


def _erasure() -> None:
    """Functions for the erasure: they list deleted projects and delete their audit entries in batches."""
    system_function(
        "kairos_projects_to_erase()", "table(project_id uuid)", "select id from projects where deleted_at is not null"
    )
    op.execute("""
        create function kairos_erase_audit(wanted uuid, most int) returns int language plpgsql
        security definer set search_path = public, pg_temp as $$
        declare gone int;
        begin
          delete from audit_log where id in (
            select a.id from audit_log a where a.project_id = wanted
              and exists (select from projects p where p.id = wanted and p.deleted_at is not null) limit most);
          get diagnostics gone = row_count;
          return gone;
        end $$""")
    system_function("kairos_erase_audit(wanted uuid, most int)", None, None)


def _retention() -> None:
    """Function that deletes expired audit entries, tickets, links, sessions and daemons."""
    op.execute("""
        create function kairos_prune(audit_days int) returns int language plpgsql
        security definer set search_path = public, pg_temp as $$
        declare gone int;
        begin
          if audit_days is null or audit_days < 1 then
            raise exception 'at least one day of the audit log must be kept, got %', audit_days;
          end if;
          delete from event_tickets where expires_at < now();
          delete from one_time_links where expires_at < now() - interval '1 day';
          delete from sessions where greatest(expires_at, coalesce(revoked_at, expires_at)) < now() - interval '1 day';
          delete from signing_keys where retired_at < now() - interval '1 day';
          delete from replicas where heartbeat_at < now() - interval '1 day';
          delete from audit_log where id in (
            select id from audit_log where at < now() - make_interval(days => audit_days) limit 50000);
          get diagnostics gone = row_count;
          return gone;
        end $$""")
    system_function("kairos_prune(audit_days int)", None, None)


def downgrade() -> None:
    raise NotImplementedError("Kairos does not migrate down: restore the backup made before the upgrade.")
