-- The three database roles of Kairos. Requires PostgreSQL 15 or newer.
--
-- For your own PostgreSQL, run it as a role that may create roles (a superuser, or the admin role of a cloud provider):
--
--   createdb kairos
--   psql -d kairos -v ON_ERROR_STOP=1 -1 \
--        -v owner_password=… -v app_password=… -v system_password=… -f roles.sql
--
-- It is safe to repeat: existing roles keep their rights and get the given passwords. Kairos runs the same file on its
-- embedded PostgreSQL (`roles.py`), so it uses psql variables but no psql commands.
--
--   kairos_owner    owns the database and its tables; used for migrations only
--   kairos_app      used for all requests and tasks; subject to row-level security, and without column grants for
--                   password hashes and signing keys
--   kairos_system   may call a few functions only: those for sweeps, partitions and schedules, and those by which a
--                   daemon reads signing keys and compares and changes passwords
--
-- Rights on tables are granted by the migrations, which run as kairos_owner.

-- psql does not substitute variables within $$ … $$, so they are passed as session settings.
select set_config('kairos_setup.kairos_owner', :'owner_password', false),
       set_config('kairos_setup.kairos_app', :'app_password', false),
       set_config('kairos_setup.kairos_system', :'system_password', false);

do $$
declare
    name text;
begin
    foreach name in array array['kairos_owner', 'kairos_app', 'kairos_system'] loop
        if not exists (select from pg_roles where rolname = name) then
            execute format('create role %I nosuperuser nobypassrls nocreatedb nocreaterole noreplication', name);
        end if;
        execute format('alter role %I login password %L', name, current_setting('kairos_setup.' || name));
        execute format('grant connect on database %I to %I', current_database(), name);
    end loop;
    -- Changing the owner of a database requires membership in the new owner, except for superusers.
    if not (select rolsuper from pg_roles where rolname = current_user) then
        execute format('grant kairos_owner to %I', current_user);
    end if;
    execute format('revoke connect, temporary on database %I from public', current_database());
    execute format('alter database %I owner to kairos_owner', current_database());
end
$$;

-- pgvector, for memory. Most servers mark it as trusted, so that no superuser is needed. If it is not installed or may
-- not be created, vectors need Qdrant.
do $$
begin
    if exists (select from pg_available_extensions where name = 'vector') then
        create extension if not exists vector;
    else
        raise notice 'pgvector is not installed on this server';
    end if;
exception when insufficient_privilege then
    raise notice 'pgvector is installed, but only a superuser may create it here: create extension vector';
end
$$;

revoke all on schema public from public;
grant usage, create on schema public to kairos_owner;
grant usage on schema public to kairos_app, kairos_system;

select set_config('kairos_setup.kairos_owner', '', false),
       set_config('kairos_setup.kairos_app', '', false),
       set_config('kairos_setup.kairos_system', '', false);
