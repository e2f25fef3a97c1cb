"""Shared router statistics, positions of measured calls, and retention of the metrics."""

from pathlib import Path

from alembic import op

from kairos.db.migrations.security import isolate_by_project, system_function

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    for statement in Path(__file__).with_suffix(".sql").read_text().split(";\n"):
        op.execute(statement)
    for table in ("router_positions", "router_statistics", "task_type_centroids"):
        isolate_by_project(table)
    _arithmetic()
    _retention()


def _arithmetic() -> None:
    """Decay functions. PostgreSQL raises an error on floating-point underflow, so fully decayed sums are set to 0."""
    op.execute("""
        create function kairos_faded(amount double precision, exponent double precision)
        returns double precision language sql immutable parallel safe as $$
          select case when abs(amount) < 1e-100 then 0 else amount * exp(greatest(exponent, -200)) end
        $$""")
    op.execute("""
        create function kairos_averaged(average double precision, value double precision, share double precision)
        returns double precision language sql immutable parallel safe as $$
          select coalesce(average + (value - average) * share, value, average)
        $$""")


def _retention() -> None:
    """Function that drops partitions of whole months. A partition in use is dropped by a later call."""
    op.execute("""
        create function kairos_drop_partitions(kept_months int) returns int language plpgsql
        security definer set search_path = public, pg_temp set lock_timeout = '3s' as $$
        declare dropped int := 0; name text; first_kept date;
        begin
          if kept_months is null or kept_months < 1 then
            raise exception 'at least one month must be kept, got %', kept_months;
          end if;
          first_kept := date_trunc('month', now() at time zone 'utc')::date - make_interval(months => kept_months);
          for name in
            select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
            where i.inhparent = 'model_performance_metrics'::regclass
              and c.relname ~ '^model_performance_metrics_[0-9]{4}_[0-9]{2}$'
              and to_date(right(c.relname, 7), 'YYYY_MM') < first_kept
            order by c.relname
          loop
            begin
              execute format('drop table %I', name);
            exception when lock_not_available then
              return dropped;
            end;
            dropped := dropped + 1;
          end loop;
          return dropped;
        end $$""")
    system_function("kairos_drop_partitions(kept_months int)", None, None)


def downgrade() -> None:
    raise NotImplementedError("Kairos does not migrate down: restore the backup made before the upgrade.")
