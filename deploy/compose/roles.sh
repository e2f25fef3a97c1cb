#!/bin/sh
# Run once by the image of PostgreSQL, on an empty volume: the three roles and the database.
set -eu
psql --username postgres --dbname kairos --single-transaction --set ON_ERROR_STOP=1 \
  --set owner_password="$KAIROS_DB_PASSWORD" --set app_password="$KAIROS_DB_PASSWORD" \
  --set system_password="$KAIROS_DB_PASSWORD" --file /kairos/roles.sql
