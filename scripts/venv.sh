# Sourced by the other scripts, from the top of the checkout. `ready LOCK` makes sure that .venv has what LOCK names;
# it says nothing when that is already so.
unset PYTHONUNBUFFERED # machines that set it hide what a user's does not print in time

supported() { # runs it: a name on PATH may be a shim or a stub that can't start
    "$1" -c 'import sys, ssl, sqlite3, venv
sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1
}

find_python() {
    bare=
    for candidate in ${PYTHON:-} python3.13 python3.12 python3.11 python3; do
        supported "$candidate" || continue
        if "$candidate" -c 'import ensurepip' >/dev/null 2>&1; then
            echo "$candidate"
            return
        fi
        bare=$candidate
    done
    if [ -n "$bare" ]; then
        echo "$bare cannot make a virtual environment: its ensurepip is missing. On Debian: apt install python3-venv" >&2
    else
        echo "Python 3.11, 3.12 or 3.13 is needed and none was found. Install one, or name it: PYTHON=/path/to/python" >&2
    fi
    return 5
}

ready() {
    if cmp -s "$1" ".venv/$1" && [ -x .venv/bin/python ]; then
        return
    fi
    if ! { supported .venv/bin/python && .venv/bin/python -c 'import pip' >/dev/null 2>&1; }; then
        python=$(find_python) || exit 5
        echo "making .venv with $("$python" -V 2>&1)" >&2
        "$python" -m venv --clear .venv || exit 5
    fi
    .venv/bin/python scripts/install.py "$1"
}

keep_bytecode() { # for whoever starts hundreds of processes: each compiles what it imports unless somebody kept it
    unset PYTHONDONTWRITEBYTECODE
    export PYTHONPYCACHEPREFIX="$PWD/.venv/bytecode"
}
