#!/bin/sh
# The life of every agent, in a container and out of one: exchange the token, prepare, run, report.
#
# Runs in the job's folder and finds everything in .preloop/ there (see runner/agents/script.py). init and the agent work
# in work/ beside it: `git clone URL .` wants a folder that is empty.
#   argv    the agent's command, one argument a line, backslash and newline escaped
#   stdin   what the agent reads
#   paths   "NAME path" lines: variables to set to that path in the job's folder
#   keys    names of the variables that receive the runtime token, or with "direct" behind them a provider's key
#   direct  that key, gone from there before anything runs; may be absent
#   doors   "egress" and "git HOST" lines: what leads out of here; may be absent
#   init.sh commands to run first; may be absent
#   guard.sh  passes on what init and the agent say
#   changes.sh  tells what changed, in changes.patch there, if the image has git
#   hand.sh   brings the plane what the agent left; absent where the engine can read it
# Text of a flow is only ever read from these files, never part of this script. POSIX sh: dash, busybox, macOS.
set -u
exec 2>&1
own=$(pwd)/.preloop
child='' group='' stopping='' interrupted=''
limit=0

fail() {
    code=$1
    shift
    printf 'preloop: %s\n' "$*"
    exit "$code"
}

# --- the token ---------------------------------------------------------------------------------------------------
# Each asker prints the HTTP status ("000" when nobody answered) and, on a second line, the token. The bootstrap token
# travels by environment or standard input, never as an argument. So does the key by which we, and nobody else, may ask
# again when an answer was lost.

ask_curl() {
    told=$(printf 'header = "Authorization: Bearer %s"\nheader = "Idempotency-Key: %s"\n' \
        "$PRELOOP_BOOTSTRAP_TOKEN" "$once" |
        curl -q -sS -K - -m 15 --noproxy '*' -d '' -w '\n%{http_code}' "$1" 2>/dev/null)
    printf '%s\n' "$told" | sed -n '$p'
    printf '%s\n' "$told" | sed -n 's/.*"token"[[:space:]]*:[[:space:]]*"\([^"]*\)".*/\1/p'
}

ask_node() {
    ONCE=$once node -e '
const headers = { Authorization: "Bearer " + process.env.PRELOOP_BOOTSTRAP_TOKEN, "Idempotency-Key": process.env.ONCE }
const options = { method: "POST", headers, redirect: "error", signal: AbortSignal.timeout(15000) }
fetch(process.argv[1], options)
  .then(async answer => [answer.status, answer.ok ? (await answer.json()).token : ""])
  .catch(() => ["000", ""])
  .then(([status, token]) => console.log(status + "\n" + token))
' "$1" 2>/dev/null
}

ask_python3() {
    ONCE=$once python3 -I -c '
import json, os, sys, urllib.error, urllib.request
headers = {"Authorization": "Bearer " + os.environ["PRELOOP_BOOTSTRAP_TOKEN"], "Idempotency-Key": os.environ["ONCE"]}
door = urllib.request.build_opener(urllib.request.ProxyHandler({}))
try:
    answer = door.open(urllib.request.Request(sys.argv[1], b"", headers), timeout=15)
    print(answer.status, json.load(answer)["token"], sep="\n")
except urllib.error.HTTPError as exc:
    print(exc.code)
except (OSError, ValueError, KeyError):
    print("000")
' "$1" 2>/dev/null
}

has() { command -v "$1" >/dev/null 2>&1; }

ask() {
    if has curl; then
        ask_curl "$1"
    elif has node; then
        ask_node "$1"
    else
        ask_python3 "$1"
    fi
}

exchange() {
    has curl || has node || has python3 ||
        fail 1 "the image has neither curl nor node nor python3, so the agent's token can't be fetched"
    tries=0
    once=$(od -An -N16 -tx1 /dev/urandom 2>/dev/null | tr -d ' \n')
    while :; do
        answer=$(ask "$PRELOOP_CONTROL_URL/api/v1/agent/token")
        status=$(printf '%s\n' "$answer" | sed -n 1p)
        token=$(printf '%s\n' "$answer" | sed -n 2p)
        tries=$((tries + 1))
        [ -n "$stopping" ] && exit 143
        case $status in
            2??) [ -n "$token" ] && return 0 ;;
            409) fail 86 "this execution's token was used before: another agent runs for it, so this one ends" ;;
            4??) fail 1 "the control plane refused this agent's token (HTTP $status)" ;;
        esac
        [ "$tries" -lt 30 ] || fail 1 "no token from the control plane at $PRELOOP_CONTROL_URL (HTTP ${status:-000})"
        [ "$tries" -eq 1 ] && printf 'preloop: no answer from the control plane yet (HTTP %s), trying again\n' "${status:-000}"
        sleep 1
    done
}

# --- the doors that lead out -------------------------------------------------------------------------------------
# For init and the agent, each opened by the agent's token. Git's settings are variables, so that no file holds it.

git_setting() {
    export "GIT_CONFIG_KEY_$GIT_CONFIG_COUNT=$1" "GIT_CONFIG_VALUE_$GIT_CONFIG_COUNT=$2"
    GIT_CONFIG_COUNT=$((GIT_CONFIG_COUNT + 1))
}

open_egress() {
    HTTPS_PROXY=${PRELOOP_CONTROL_URL%%://*}://agent:$token@${PRELOOP_CONTROL_URL#*://}
    NO_PROXY=localhost,127.0.0.1
    for url in "$PRELOOP_CONTROL_URL" "$PRELOOP_GATEWAY_URL"; do
        url=${url#*://}
        NO_PROXY=$NO_PROXY,${url%:*}
    done
    https_proxy=$HTTPS_PROXY
    no_proxy=$NO_PROXY
    export HTTPS_PROXY https_proxy NO_PROXY no_proxy
    git_setting http.proxyAuthMethod basic
}

open_git() {
    for from in "https://$1/" "ssh://git@$1/" "git@$1:"; do
        git_setting "url.$PRELOOP_CONTROL_URL/git/$1/.insteadOf" "$from"
    done
}

open_doors() {
    GIT_CONFIG_COUNT=0
    GIT_TERMINAL_PROMPT=0
    git_setting "http.$PRELOOP_CONTROL_URL/git/.extraHeader" "Authorization: Bearer $token"
    while IFS=' ' read -r door host; do
        case $door in
            egress) open_egress ;;
            git) open_git "$host" ;;
        esac
    done <"$own/doors"
    export GIT_CONFIG_COUNT GIT_TERMINAL_PROMPT
}

# --- running -----------------------------------------------------------------------------------------------------

on_term() {
    stopping=1
    interrupted=1
    # A child that has not reached its own session yet is no group.
    [ -z "$child" ] || kill -TERM "$group$child" 2>/dev/null || kill -TERM "$child" 2>/dev/null
}

# wait_for PID: its exit code into $code, though signals interrupt `wait`.
wait_for() {
    code=
    while :; do
        interrupted=
        wait "$1" 2>/dev/null
        now=$?
        [ "$now" -eq 127 ] && [ -n "$code" ] || code=$now
        [ -n "$interrupted" ] || return 0
    done
}

# patience SECONDS WHOM: end somebody who takes too long, and leave a note of it.
patience() {
    left=$1
    while [ "$left" -gt 0 ]; do sleep 1; left=$((left - 1)); done
    : >"$own/slow"
    kill -TERM "$2"
    sleep 5
    kill -KILL "$2"
}

# run INPUT KEYS COMMAND...: in a session of its own where the system has setsid, so that TERM reaches all of it once.
run() {
    input=$1
    keys=$2
    shift 2
    pipe=$own/pipe.$$
    rm -f "$pipe"
    mkfifo -m 600 "$pipe" || fail 1 "can't write to $own"
    sh "$own/guard.sh" <"$pipe" &
    guard=$!
    session=
    group=
    if has setsid; then
        session=setsid
        group=-
    fi
    {
        while IFS=' ' read -r key whose; do
            if [ "$whose" = direct ]; then export "$key=$direct"; else export "$key=$token"; fi
        done <"$keys"
        exec $session "$@"
    } <"$input" >"$pipe" 2>&1 &
    child=$!
    [ -z "$stopping" ] || on_term
    timer=
    if [ "$limit" -gt 0 ]; then
        patience "$limit" "$group$child" >/dev/null 2>&1 &
        timer=$!
    fi
    wait_for "$child"
    ended=$code
    if [ -n "$timer" ]; then
        kill -KILL "$timer" 2>/dev/null
        wait "$timer" 2>/dev/null
    fi
    [ -z "$group" ] || kill -KILL "-$child" 2>/dev/null
    child=
    # A daemon that left the session still holds the pipe; the run does not wait for it.
    rm -f "$own/late"
    (sleep 2 && : >"$own/late" && kill -KILL "$guard") >/dev/null 2>&1 &
    watchdog=$!
    wait_for "$guard"
    kept=$code
    # KILL, as a TERM that meets a shell just forked is lost in its parent's trap.
    kill -KILL "$watchdog" 2>/dev/null
    wait "$watchdog" 2>/dev/null
    rm -f "$pipe"
    code=$ended
    if [ "$kept" -ne 0 ] && [ ! -e "$own/late" ]; then
        printf 'preloop: output was lost: what passes lines on ended with exit code %s\n' "$kept"
        [ "$code" -ne 0 ] || code=1
    fi
}

run_agent() {
    set --
    while IFS= read -r line; do
        argument=$(printf '%b_' "$line")
        set -- "$@" "${argument%_}"
    done <"$own/argv"
    run "$own/stdin" "$own/keys" "$@"
}

# changes WHEN: its failure is nobody's, and says nothing.
changes() {
    has git || return 0
    sh "$own/changes.sh" "$1" </dev/null >/dev/null 2>&1 &
    wait_for "$!"
}

# hand_over: while the token still opens a door, so before the end is told.
hand_over() {
    [ -n "$stopping" ] || changes after
    if [ -z "$stopping" ]; then
        TOKEN=$token sh -c "$hand" "$own/hand.sh" </dev/null &
        child=$!
        wait_for "$child"
        child=
    fi
    [ -z "$stopping" ] || printf 'preloop: the run was stopped: what the agent left is not kept\n'
}

# --- the life ----------------------------------------------------------------------------------------------------

trap on_term TERM INT

unset direct hand  # of the image's own each would be exported
direct=
hand=$(cat "$own/hand.sh" 2>/dev/null)  # now, as the agent may write to the file
if [ -f "$own/direct" ]; then
    direct=$(cat "$own/direct")
    rm -f "$own/direct" || exit 1
fi
exchange
unset PRELOOP_BOOTSTRAP_TOKEN once
while IFS=' ' read -r name path; do
    export "$name=$(pwd)/$path"
done <"$own/paths"
[ ! -f "$own/doors" ] || open_doors
{ mkdir -p work && cd work; } || fail 1 "can't work in $(pwd)/work"

if [ -f "$own/init.sh" ]; then
    limit=${PRELOOP_INIT_TIMEOUT:-0}
    run /dev/null /dev/null sh -e "$own/init.sh"
    [ ! -e "$own/slow" ] || fail 124 "init took longer than $limit s (limits.init of the flow)"
    limit=0
    [ "$code" -eq 0 ] || fail "$code" "init ended with exit code $code"
    changes before
fi
[ -z "$stopping" ] || exit 143

echo PRELOOP_AGENT_EXEC_START
run_agent
ended=$code
[ -z "$hand" ] || hand_over
echo "PRELOOP_AGENT_EXEC_END $ended"
[ -n "$hand" ] || changes after
code=$ended

if [ "${AGENT_POST_EXEC_SLEEP:-0}" != 0 ] && [ -z "$stopping" ]; then
    trap 'exit "$code"' TERM INT
    sleep "$AGENT_POST_EXEC_SLEEP" >/dev/null 2>&1 &
    wait "$!"
fi
exit "$code"
