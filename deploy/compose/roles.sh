#!/bin/sh
# Creates the database and its three roles, each with its own password. PostgreSQL's image runs this once, on an empty volume.
# Run again (`docker compose exec postgres sh /docker-entrypoint-initdb.d/roles.sh`), it sets all passwords, including the
# superuser's, to those in the environment. Passwords are passed on standard input, so that no process list shows them.
set -eu
: "${KAIROS_OWNER_PASSWORD:?}" "${KAIROS_APP_PASSWORD:?}" "${KAIROS_SYSTEM_PASSWORD:?}" "${KAIROS_POSTGRES_PASSWORD:?}"
for pair in OWNER:APP OWNER:SYSTEM APP:SYSTEM POSTGRES:OWNER POSTGRES:APP POSTGRES:SYSTEM; do
  eval "[ \"\$KAIROS_${pair%:*}_PASSWORD\" != \"\$KAIROS_${pair#*:}_PASSWORD\" ]" || {
    echo "KAIROS_${pair%:*}_PASSWORD and KAIROS_${pair#*:}_PASSWORD are the same: give each role its own password" >&2
    exit 1
  }
done
psql --username postgres --dbname kairos --no-psqlrc --quiet --single-transaction --set ON_ERROR_STOP=1 <<'SQL'
\getenv owner_password KAIROS_OWNER_PASSWORD
\getenv app_password KAIROS_APP_PASSWORD
\getenv system_password KAIROS_SYSTEM_PASSWORD
\getenv superuser_password KAIROS_POSTGRES_PASSWORD
\i /kairos/roles.sql
alter role postgres password :'superuser_password';
SQL
