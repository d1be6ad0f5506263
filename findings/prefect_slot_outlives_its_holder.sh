#!/usr/bin/env bash
# Prefect 3.9.1: a slot of a global concurrency limit stays taken for ever if its holder and the server are killed together.
#
# A slot comes with a lease, here of 60 s, that the holder renews. The lease says when the slot is free again, but by default it is
# kept in the server's memory and the number of taken slots in its database. After a power cut the number is there and the lease is
# not, so nothing ever gives the slot back: everybody who waits for it waits for ever. With
# PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE=prefect.server.concurrency.lease_storage.filesystem it comes back. Seen, 150 s later:
#
#   memory: 1 slot taken; filesystem: 0 slots taken
set -euo pipefail
folder=$(mktemp -d)
trap 'kill -9 ${server:-} ${holder:-} 2>/dev/null || true; rm -rf "$folder"' EXIT
export PREFECT_LOGGING_LEVEL=ERROR PREFECT_SERVER_ANALYTICS_ENABLED=false DO_NOT_TRACK=1 no_proxy=127.0.0.1
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check prefect==3.9.1 "sqlalchemy<2.1" 2>/dev/null
port=$("$folder/venv/bin/python" -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
export PREFECT_API_URL=http://127.0.0.1:$port/api
limit=$PREFECT_API_URL/v2/concurrency_limits

start_server() {
    "$folder/venv/bin/prefect" server start --host 127.0.0.1 --port "$port" >"$folder/server.log" 2>&1 &
    server=$!
    for _ in $(seq 120); do curl --silent --fail "$PREFECT_API_URL/health" >/dev/null && return; sleep 1; done
    cat "$folder/server.log"
    exit 1
}

taken() { curl --silent "$limit/scarce" | "$folder/venv/bin/python" -c 'import json, sys; print(json.load(sys.stdin)["active_slots"])'; }

taken_after_a_power_cut() {
    export PREFECT_HOME=$folder/$1 PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE=prefect.server.concurrency.lease_storage.$1
    start_server
    curl --silent --fail --json '{"name": "scarce", "limit": 1}' "$limit/" >/dev/null
    "$folder/venv/bin/python" - <<'PYTHON' >"$folder/holder.log" 2>&1 &
import time

from prefect.concurrency.sync import concurrency

with concurrency("scarce", lease_duration=60):
    time.sleep(600)
PYTHON
    holder=$!
    for _ in $(seq 60); do [ "$(taken)" = 1 ] && break; sleep 1; done
    [ "$(taken)" = 1 ]
    kill -9 "$holder" "$server"
    wait "$holder" "$server" 2>/dev/null || true
    start_server
    sleep 150
    slots=$(taken)
    kill -9 "$server"
    wait "$server" 2>/dev/null || true
    echo "$1: $slots taken"
}

taken_after_a_power_cut memory
[ "$slots" = 1 ]
taken_after_a_power_cut filesystem
[ "$slots" = 0 ]
