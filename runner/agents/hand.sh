#!/bin/sh
# What an agent left, out of a container that its engine can't read files from: to the plane (access/left.py), a tar of
# each, with the agent's token in TOKEN. Runs in the work folder, where the agent ran, before its end is told: the token
# dies with that. Says what did not get there. POSIX sh.
set -u
own=${0%/*}
most=109051904  # HANDED_MOST: beyond it nothing is kept
until=$(($(date +%s) + 120))  # for all of it, a plane that starts again meanwhile included
has() { command -v "$1" >/dev/null 2>&1; }

# Each putter sends a file and prints the HTTP status, "000" when nobody answered.

put_curl() {
    printf 'header = "Authorization: Bearer %s"\n' "$TOKEN" |
        curl -q -sS -K - -m 120 --noproxy '*' -T "$1" -o /dev/null -w '%{http_code}' "$2" 2>/dev/null
}

put_node() {
    node -e '
const [file, url] = process.argv.slice(1)
const headers = { Authorization: "Bearer " + process.env.TOKEN }
const body = require("fs").createReadStream(file)
fetch(url, { method: "PUT", headers, body, duplex: "half", redirect: "error", signal: AbortSignal.timeout(120000) })
  .then(answer => answer.status, () => "000")
  .then(status => { console.log(status); process.exit() })
' "$1" "$2" 2>/dev/null
}

put_python3() {
    python3 -I -c '
import os, sys, urllib.error, urllib.request
headers = {"Authorization": "Bearer " + os.environ["TOKEN"], "Content-Length": str(os.path.getsize(sys.argv[1]))}
door = urllib.request.build_opener(urllib.request.ProxyHandler({}))
try:
    with open(sys.argv[1], "rb") as file:
        print(door.open(urllib.request.Request(sys.argv[2], file, headers, method="PUT"), timeout=120).status)
except urllib.error.HTTPError as exc:
    print(exc.code)
except OSError:
    print("000")
' "$1" "$2" 2>/dev/null
}

put() {
    if has curl; then
        put_curl "$@"
    elif has node; then
        put_node "$@"
    else
        put_python3 "$@"
    fi
}

# hand FOLDER NAME
hand() {
    [ -e "$1/$2" ] || [ -L "$1/$2" ] || return 0
    has tar || { printf 'preloop: %s is not kept: the image has no tar\n' "$2"; return; }
    tar -C "$1" -cf - "$2" 2>/dev/null | head -c "$most" >"$own/handed.tar"
    while :; do
        status=$(put "$own/handed.tar" "$PRELOOP_CONTROL_URL/api/v1/agent/left/$2" | tr -cd 0-9 | head -c 3)
        case $status in
            2??) break ;;
            000 | '' | 5??) [ "$(date +%s)" -lt "$until" ] && sleep 1 && continue ;;
        esac
        printf 'preloop: %s is not kept: the control plane did not take it (HTTP %s)\n' "$2" "${status:-000}"
        break
    done
    rm -f "$own/handed.tar"
}

hand . artifacts
hand . result.json
[ ! -s "$own/changes.patch" ] || hand "$own" changes.patch
