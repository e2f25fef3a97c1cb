#!/usr/bin/env bash
# Write .env for docker-compose.yml: a random password for each database role, the superuser and Redis.
#   scripts/compose_env.sh [FILE]            a new file; an existing one is never overwritten
#   scripts/compose_env.sh --upgrade [FILE]  add missing passwords to an older .env, and print how to set them in the database
set -euo pipefail
names=(KAIROS_POSTGRES_PASSWORD KAIROS_OWNER_PASSWORD KAIROS_APP_PASSWORD KAIROS_SYSTEM_PASSWORD KAIROS_REDIS_PASSWORD)
upgrade=
if [ "${1:-}" = --upgrade ]; then upgrade=1; shift; fi
case "${1:-}" in -*) sed -n '2,4p' "$0" >&2; exit 2 ;; esac
file=${1:-$(cd "$(dirname "$0")/.." && pwd)/.env}

# Hexadecimal, because the passwords are used in URLs.
password() { head -c 24 /dev/urandom | od -An -v -tx1 | tr -d ' \n'; }
lines() { local name; for name in "$@"; do echo "$name=$(password)"; done; }

umask 077
if [ -z "$upgrade" ]; then
    if [ -e "$file" ] || [ -L "$file" ]; then
        echo "$file already exists and is unchanged. Remove it, or add missing passwords with $0 --upgrade" >&2
        exit 1
    fi
    # noclobber: a file created meanwhile is not followed or overwritten.
    set -o noclobber
    lines "${names[@]}" > "$file"
    echo "wrote $file with a password for each role; keep it, as the data is inaccessible without it"
    exit 0
fi

[ -f "$file" ] || { echo "$file does not exist" >&2; exit 1; }
missing=()
for name in "${names[@]}"; do grep -Eq "^[[:space:]]*(export[[:space:]]+)?$name=." "$file" || missing+=("$name"); done
[ ${#missing[@]} -gt 0 ] || { echo "$file already has all passwords"; exit 0; }
added=$(lines "${missing[@]}")
printf '\n%s\n' "$added" >> "$file"
chmod 600 "$file"
cat <<END
added to $file: ${missing[*]}
The database still has the old passwords. Set the new ones, then start Kairos with them:
  docker compose up --detach --wait postgres
  docker compose exec postgres sh /docker-entrypoint-initdb.d/roles.sh
  docker compose up --detach --build
KAIROS_DB_PASSWORD, which all roles shared, is no longer used: remove it from $file.
END
