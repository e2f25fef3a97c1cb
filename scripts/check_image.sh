#!/usr/bin/env bash
# Build the image on a Docker Engine and test it, alone and with docker-compose.yml: as an unprivileged user, on a
# read-only root, without capabilities, under the default seccomp profile. Takes about 4 minutes. All created resources
# are removed at the end, also after a failure; base images and build cache are kept. Each printed line was verified.
set -euo pipefail
cd "$(dirname "$0")/.."

ID=kairos-check-$$-$RANDOM
IMAGE=$ID:latest
WORK=$(mktemp -d)
HARDENED=(--read-only --cap-drop ALL --security-opt no-new-privileges --pids-limit 512)
MODELS='[{"name": "scripted", "base_url": "http://127.0.0.1:9310/v1", "local": true, "tier": 0.1}]'
STEP=start

main() {
    docker info > /dev/null 2>&1 || { echo "no Docker Engine answers: start one, or set DOCKER_HOST" >&2; exit 2; }
    docker compose version > /dev/null 2>&1 || { echo "Docker Compose is missing (docker compose version)" >&2; exit 2; }
    step "build"; build
    step "alone"; alone
    step "user ids and volumes"; volumes
    step "compose"; compose
    step "code supplied with tasks"; isolation
    STEP=
    echo "the image passed in $SECONDS s"
}

build() {
    # The host's network, because some builders' own network cannot reach the registries.
    docker build --quiet --network host --tag "$IMAGE" . > "$WORK/build.log" 2>&1 || { tail -30 "$WORK/build.log" >&2; exit 1; }
    local user missing
    user=$(docker image inspect --format '{{.Config.User}}' "$IMAGE")
    [[ $user =~ ^[1-9][0-9]*(:[0-9]+)?$ ]] || fail "the image's user is '$user', which runAsNonRoot refuses"
    seen "its user is the number $user"
    missing=$(docker run --rm --interactive --entrypoint sh "$IMAGE" -s < scripts/missing_libraries.sh)
    [ -z "$missing" ] || fail "shared libraries of the installed packages are missing: $missing"
    seen "no shared library is missing"
}

# With embedded engines and model, and only /data writable.
alone() {
    local first second id
    run_alone "$ID-alone" "$ID-alone" --env KAIROS_MODELS="$MODELS" -- kairos start --sample
    until_ready "$ID-alone"
    all_ok "$ID-alone"
    without_rights "$ID-alone"
    eventually 90 logged "$ID-alone" 'succeeded' || fail "the sample task did not succeed"
    seen "ready with the embedded PostgreSQL, Valkey and model; the sample task succeeded"
    first=$(link_of "$ID-alone")
    [[ $first == http://localhost:8484/setup#* ]] || fail "no first link on localhost, but '$first'"
    id=$(newest_task "$ID-alone")

    docker rm --force "$ID-alone" > /dev/null
    run_alone "$ID-alone" "$ID-alone" --env KAIROS_MODELS="$MODELS" -- kairos start
    until_ready "$ID-alone"
    [ "$(newest_task "$ID-alone")" = "$id" ] || fail "the task is missing after the container was recreated"
    second=$(link_of "$ID-alone")
    [ "$second" != "$first" ] || fail "the container recreated shows no new link"
    seen "recreated on its volume: the task is there, and a new link"
    kairos "$ID-alone" user reset-password admin@localhost 2> /dev/null | grep -q '^http://localhost:8484/reset#' ||
        fail "kairos user reset-password shows no link"
    seen "kairos user reset-password shows a link"
    # The small model may answer wrongly: exit code 10 (rejected) is accepted as well.
    kairos "$ID-alone" task submit --model smollm2-135m --require Paris --wait \
        "Which city is the capital of France?" > "$WORK/task.log" 2>&1 || [ $? = 10 ] ||
        fail "a task by the command line: $(tail -5 "$WORK/task.log")"
    seen "kairos task submit --wait"
}

# A user id without a name; a volume as mounted by Kubernetes with fsGroup; a volume that is not writable.
volumes() {
    run_alone "$ID-any" "$ID-any" --user 54321:0 --env HOME=/nowhere --env KAIROS_EMBEDDED__MODEL=false -- kairos start
    prepare_volume "$ID-group" 'mkdir /data/lost+found && chown 0:2000 /data && chmod 2775 /data'
    run_alone "$ID-group" "$ID-group" --group-add 2000 --env KAIROS_EMBEDDED__MODEL=false -- kairos start
    until_started "$ID-any"
    until_started "$ID-group"
    kairos "$ID-any" task list > "$WORK/task.log" 2>&1 || fail "kairos task list without a home folder: $(tail -3 "$WORK/task.log")"
    seen "it runs as an arbitrary user id of group 0, and without a home folder"
    seen "it runs on a volume of root that its group may write (fsGroup)"
    docker rm --force "$ID-group" > /dev/null
    # As the kubelet does at each mount.
    prepare_volume "$ID-group" 'chgrp -R 2000 /data && chmod -R g+rwX /data && find /data -type d -exec chmod g+s {} +'
    run_alone "$ID-group" "$ID-group" --group-add 2000 --env KAIROS_EMBEDDED__MODEL=false -- kairos start
    until_started "$ID-group"
    [ "$(docker exec "$ID-group" stat --format %a /data/secrets.json)" = 600 ] || fail "secrets.json is open to the group"
    seen "it starts again after such a volume was remounted, and closed its secrets"
    prepare_volume "$ID-closed" 'mkdir /data/lost+found && chown 0:0 /data && chmod 0755 /data'
    run_alone "$ID-closed" "$ID-closed" -- kairos start
    eventually 30 ended "$ID-closed" || fail "it runs on a volume that it cannot write"
    logged "$ID-closed" 'cannot be used.*Permission denied' || fail "a volume it cannot write: $(docker logs "$ID-closed" 2>&1 | tail -3)"
    seen "a volume that it cannot write is refused with the reason"
    docker rm --force "$ID-any" "$ID-group" "$ID-closed" > /dev/null
}

compose() {
    local id first container
    scripts/compose_env.sh "$WORK/env" > /dev/null
    ! scripts/compose_env.sh "$WORK/env" > /dev/null 2>&1 || fail "compose_env.sh overwrites a file"
    [ "$(stat --format %a "$WORK/env")" = 600 ] || fail "the file with the passwords is open"
    seen "compose_env.sh writes passwords for its owner alone and overwrites none"
    echo "KAIROS_PORT=$(free_port)" >> "$WORK/env"
    cat > "$WORK/override.yml" <<END
services:
  kairos: {image: "$IMAGE", environment: {KAIROS_MODELS: '$MODELS', KAIROS_EMBEDDED__MODEL: "true"}}
END
    dc up --detach --wait --no-build > "$WORK/up.log" 2>&1 || { tail -20 "$WORK/up.log" >&2; dc logs --tail 30 >&2; fail "compose up"; }
    container=$(dc ps --quiet kairos)
    until_ready "$container"
    without_rights "$container"
    docker exec "$container" getent hosts host.docker.internal > /dev/null || fail "host.docker.internal is unknown"
    seen "compose is up, healthy, without rights; the container knows its host"
    roles
    container=$(dc ps --quiet kairos)  # recreated for its new password
    until_ready "$container"
    serve_scripted "$container"
    kairos "$container" task submit --model scripted --wait --json "Write add(a, b) in Python." > "$WORK/task.json" 2> "$WORK/task.log" ||
        fail "a task under compose: $(tail -5 "$WORK/task.log") $(head -c 3000 "$WORK/task.json")"
    id=$(newest_task "$container")
    first=$(link_of "$container")
    [[ $first == "http://localhost:$(sed -n 's/^KAIROS_PORT=//p' "$WORK/env")/setup#"* ]] || fail "compose's link is '$first'"
    seen "a task succeeded; the link names the published port"

    dc restart kairos > /dev/null 2>&1
    until_ready "$container"
    [ "$(newest_task "$container")" = "$id" ] || fail "the task is missing after a restart"
    dc up --detach --wait --no-build --force-recreate kairos > "$WORK/up.log" 2>&1 || fail "compose up again"
    container=$(dc ps --quiet kairos)
    until_ready "$container"
    [ "$(newest_task "$container")" = "$id" ] || fail "the task is missing after the container was recreated"
    [ "$(link_of "$container")" != "$first" ] || fail "the container recreated shows no new link"
    seen "restarted and recreated: the task is there, and a new link"
}

# The password of one role gives access to no other role.
roles() {
    sql kairos_app KAIROS_APP_PASSWORD 'select 1' || fail "the app role cannot sign in"
    local role
    for role in kairos_owner kairos_system postgres; do
        ! sql "$role" KAIROS_APP_PASSWORD 'select 1' || fail "the app role's password opens $role"
        ! sql kairos_app KAIROS_APP_PASSWORD "set role $role" || fail "the app role becomes $role"
        ! sql kairos_app KAIROS_APP_PASSWORD "set session authorization $role" || fail "the app role becomes $role"
    done
    ! sql kairos_system KAIROS_SYSTEM_PASSWORD 'set role kairos_owner' || fail "the system role becomes the owner"
    sql kairos_owner KAIROS_OWNER_PASSWORD 'select 1' || fail "the owner cannot sign in"
    ! sql kairos_app KAIROS_APP_PASSWORD 'create table mine (n int)' || fail "the app role creates tables"
    seen "the app role's password opens no other role, and it cannot become one"
    # Changed passwords in .env, as after an upgrade from one shared password.
    local before
    before=$(grep '^KAIROS_OWNER_PASSWORD=' "$WORK/env")
    sed -i '/^KAIROS_OWNER_PASSWORD=/d' "$WORK/env"
    scripts/compose_env.sh --upgrade "$WORK/env" > /dev/null
    dc up --detach --wait --no-build postgres > /dev/null 2>&1
    dc exec -T postgres sh /docker-entrypoint-initdb.d/roles.sh > "$WORK/roles.log" 2>&1 || fail "roles.sh: $(tail -3 "$WORK/roles.log")"
    sql kairos_owner KAIROS_OWNER_PASSWORD 'select 1' || fail "the owner's new password does not open"
    ! sql_with kairos_owner "${before#*=}" 'select 1' || fail "the owner's old password still opens"
    dc up --detach --wait --no-build > "$WORK/up.log" 2>&1 || fail "compose up with a new password: $(tail -3 "$WORK/up.log")"
    seen "roles.sh sets new passwords on a volume that exists"
}

# Hostile tests pass only if they escape, so their score is 0. Honest tests pass, or are refused with a reason.
isolation() {
    local container honest hostile
    for container in "$ID-alone" "$(dc ps --quiet kairos)"; do
        serve_scripted "$container"
        honest=$(ruling "$container" honest)
        hostile=$(ruling "$container" hostile)
        case "$honest $hostile" in
            "1.0 0.0") seen "tests run isolated: honest ones pass, hostile ones reach no secret, process or network" ;;
            "refused refused") seen "tests are refused: this host cannot isolate code" ;;
            *) fail "honest tests: $honest, tests that read secrets: $hostile (either 1.0 and 0.0, or both refused)" ;;
        esac
    done
}

# --- helpers ---

step() { STEP=$1; echo "$1 ($SECONDS s)"; }
seen() { echo "  $*"; }
fail() { echo "FAILED: $*" >&2; exit 1; }

# run_alone NAME VOLUME OPTIONS… -- COMMAND…
run_alone() {
    local name=$1 volume=$2 options=(); shift 2
    while [ "$1" != -- ]; do options+=("$1"); shift; done
    docker run --detach --name "$name" --volume "$volume:/data" "${HARDENED[@]}" "${options[@]}" "$IMAGE" "${@:2}" > /dev/null
}

# Not empty, because Docker gives an empty volume the owner of the image's folder.
prepare_volume() { docker run --rm --user 0:0 --volume "$1:/data" --entrypoint sh "$IMAGE" -c "$2"; }
dc() { docker compose --project-name "$ID" --env-file "$WORK/env" --file docker-compose.yml --file "$WORK/override.yml" "$@"; }
kairos() { docker exec "$1" kairos "${@:2}"; }
eventually() { local limit=$((SECONDS + $1)); shift; until "$@"; do [ "$SECONDS" -lt "$limit" ] || return 1; sleep 0.5; done; }
ended() { [ "$(docker inspect --format '{{.State.Running}}' "$1")" = false ]; }
# Not `grep -q` on a pipe: it exits early, and `pipefail` would report the broken pipe of the writer.
logged() { docker logs "$1" 2>&1 | grep -E "$2" > /dev/null; }
starts() { docker logs "$1" 2>&1 | grep -c 'Kairos is ready' || true; }
healthy() { ! ended "$1" && kairos "$1" status --json > "$WORK/status.json" 2> /dev/null; }
link_of() { docker logs "$1" 2>&1 | grep -oE 'https?://[^ ]+/setup#[A-Za-z0-9_-]+' | tail -1; }
newest_task() { kairos "$1" task list --json | docker exec -i "$1" python -c 'import json, sys; print(json.load(sys.stdin)["items"][0]["id"])'; }
free_port() { docker run --rm --network host --entrypoint python "$IMAGE" -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

until_started() { eventually 180 healthy "$1" || fail "$1 is not ready: $(docker logs "$1" 2>&1 | tail -8)"; }
until_ready() { until_started "$1"; eventually 30 logged "$1" 'Kairos is ready' || fail "$1 announced nothing"; }

all_ok() {
    healthy "$1" || fail "$1 is not ready any more"
    docker exec -i "$1" python -c '
import json, sys
status = json.load(sys.stdin)
wrong = {name: part for name, part in status["parts"].items() if name.startswith("embedded") or part["state"] == "away"}
sys.exit(f"{wrong}" if wrong or "model" not in (status["memory_mb"] or {}) else 0)' < "$WORK/status.json" || fail "a part is not in order"
}

without_rights() {
    local status
    status=$(docker exec "$1" sh -c 'id -u; cat /proc/1/status; touch /app/x 2>&1 || true')
    grep -q '^[1-9]' <<< "$status" || fail "it runs as root"
    grep -q '^CapEff:.*0000000000000000' <<< "$status" || fail "it has capabilities"
    grep -q '^NoNewPrivs:.*1' <<< "$status" || fail "it may gain privileges"
    grep -q '^Seccomp:.*2' <<< "$status" || fail "no seccomp profile is on"
    grep -q 'Read-only' <<< "$status" || fail "its root can be written"
}

# sql ROLE VARIABLE STATEMENT: as that role, over TCP, with the password of this variable in the file
sql() { sql_with "$1" "$(sed -n "s/^$2=//p" "$WORK/env")" "$3"; }
sql_with() {
    dc exec -T --env PGPASSWORD="$2" postgres \
        psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --host "$(own_address)" --username "$1" --dbname kairos --command "$3" > "$WORK/sql.log" 2>&1
}
# Not localhost, which PostgreSQL's image trusts in pg_hba.conf.
own_address() { docker inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$(dc ps --quiet postgres)"; }

serve_scripted() {
    docker exec --detach "$1" python -c "$(cat scripts/scripted_model.py)" 9310
    eventually 20 docker exec "$1" python -c 'import urllib.request as r; r.urlopen("http://127.0.0.1:9310/v1/models", timeout=2)' 2> /dev/null ||
        fail "the scripted model does not answer"
    kairos "$1" model reset scripted > /dev/null  # it was unavailable when the daemon started
}

# ruling CONTAINER honest|hostile: the score of the tests, or `refused`
ruling() {
    docker exec -i "$1" sh -c 'cat > "$0"' "/data/$2.py" < "scripts/image_tests/$2.py"
    # A rejected task is a valid result, but a non-zero exit code.
    { kairos "$1" task submit --model scripted --tests "/data/$2.py" --wait --json "Write add(a, b) in Python. $2" 2> /dev/null || true; } |
        docker exec -i "$1" python -c '
import json, sys
verdict = json.load(sys.stdin)["verdicts"][0]
refused = any("cannot isolate code" in finding["message"] for finding in verdict["findings"])
print("refused" if refused and verdict["score"] is None else verdict["score"])'
}

clean() {
    local code=$?
    set +e
    if [ -n "$STEP" ]; then echo "the check ended in '$STEP'" >&2; fi
    if [ -f "$WORK/override.yml" ]; then dc down --volumes --timeout 5 > /dev/null 2>&1; fi
    docker ps --all --quiet --filter "name=$ID" | xargs -r docker rm --force --volumes > /dev/null 2>&1
    docker volume ls --quiet --filter "name=$ID" | xargs -r docker volume rm > /dev/null 2>&1
    docker image rm --no-prune "$IMAGE" > /dev/null 2>&1
    rm -rf "$WORK"
    exit "$code"
}
trap clean EXIT
trap 'exit 130' INT TERM
main
