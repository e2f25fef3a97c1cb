-- The three roles of Kairos, and who may do what in its database. PostgreSQL 15 or newer.
--
-- For a PostgreSQL of your own, as a role that may create roles (a superuser, or what a cloud gives its customers):
--
--   createdb kairos
--   psql -d kairos -v ON_ERROR_STOP=1 -1 \
--        -v owner_password=… -v app_password=… -v system_password=… -f roles.sql
--
-- It may be repeated: roles that exist keep what they have and get the passwords given. Kairos runs the same file on
-- its embedded PostgreSQL (`roles.py`), so it holds no commands of psql's own, only variables.
--
--   kairos_owner    owns the database and its tables: migrations, and nothing else
--   kairos_app      everything the daemon does for people; bound by row-level security, and by column grants that
--                   leave out password hashes and signing keys
--   kairos_system   may call the few functions of the sweep, of partitions and of schedules, and those by which a
--                   daemon reads signing keys and compares and changes passwords
--
-- What each may do with which table is granted by the migrations, which run as kairos_owner.

-- Variables are not filled in within $$ … $$, so they go there as settings of this session.
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
    -- Only a member may hand the database over to a role; a superuser needs no membership.
    if not (select rolsuper from pg_roles where rolname = current_user) then
        execute format('grant kairos_owner to %I', current_user);
    end if;
    execute format('revoke connect, temporary on database %I from public', current_database());
    execute format('alter database %I owner to kairos_owner', current_database());
end
$$;

-- pgvector, for memory. Most servers mark it trusted, so that no superuser is needed; where it is not installed or may
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
