"""Install one lock into the running venv, hashes checked, with a short progress display.

A copy of the lock inside the venv is the stamp that it was installed: removed before pip starts and written after it
succeeded, so an interrupted install is never believed. A lock that contains another stamps both. The checkout itself is
put on the venv's path, and `preloop` beside its python.
"""

import fcntl
import re
import shutil
import subprocess
import sys
from collections import deque
from pathlib import Path

VENV = Path(sys.prefix)
RUNTIME, EXTRAS, DEV = "requirements.lock", "requirements-extras.lock", "requirements-dev.lock"
STAMPED = {RUNTIME: (RUNTIME,), EXTRAS: (RUNTIME, EXTRAS), DEV: (RUNTIME, EXTRAS, DEV)}
"""What is there once a lock is installed."""
PIP = [sys.executable, "-m", "pip", "install", "--require-hashes", "--no-deps", "--no-compile", "--no-input"]
CLEAR = "\r\033[K"
FETCHED = re.compile(r"(?:Collecting |Requirement already satisfied: |Ignoring |Processing \S*/)(\w+)")


class Progress:
    """One moving line on a terminal; a line for each quarter elsewhere."""

    def __init__(self, lock: str, total: int) -> None:
        self.lock, self.total, self.done, self.quarter = lock, total, 0, -1

    def step(self, name: str) -> None:
        self.done = min(self.done + 1, self.total)
        self.show(f"{self.done}/{self.total} {name}", quarter=4 * self.done // self.total)

    def show(self, text: str, *, quarter: int) -> None:
        if sys.stderr.isatty():
            print(f"{CLEAR}{self.lock}: {text}", end="", file=sys.stderr, flush=True)
        elif quarter != self.quarter:
            print(f"{self.lock}: {text}", file=sys.stderr, flush=True)
        self.quarter = quarter

    def close(self, text: str) -> None:
        print(f"{CLEAR if sys.stderr.isatty() else ''}{self.lock}: {text}", file=sys.stderr, flush=True)


def run_pip(lock: str) -> int:
    total = len(re.findall(r"^[\w.-]+==", Path(lock).read_text(), re.MULTILINE))
    progress = Progress(lock, total)
    last: deque[str] = deque(maxlen=15)
    command = [*PIP, "--disable-pip-version-check", "--progress-bar", "off", "-r", lock]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as pip:
        assert pip.stdout
        for line in pip.stdout:
            last.append(line)
            if found := FETCHED.match(line):
                progress.step(found[1])
            elif line.startswith("Installing collected packages"):
                progress.show("unpacking", quarter=5)
    if pip.returncode:
        progress.close("pip could not install it\n" + "".join(last))
        print("Is the package index reachable? A mirror or proxy is set in pip's own configuration.", file=sys.stderr)
    else:
        progress.close(f"{total} packages ready")
    return pip.returncode


def put_checkout_on_path() -> None:
    site = next(VENV.glob("lib/python3*/site-packages"))
    (site / "preloop-checkout.pth").write_text("../../../..\n")  # relative to site-packages: the checkout may be moved
    command = VENV / "bin" / "preloop"
    command.write_text('#!/bin/sh\nexec "$(dirname "$(readlink -f "$0")")/python" -P -m preloop "$@"\n')
    command.chmod(0o755)


def main(lock: str) -> int:
    with (VENV / ".installing").open("w") as door:
        fcntl.flock(door, fcntl.LOCK_EX)
        stamp = VENV / lock
        if stamp.exists() and stamp.read_bytes() == Path(lock).read_bytes():
            return 0  # somebody else did it while we waited
        for name in STAMPED:
            (VENV / name).unlink(missing_ok=True)
        if run_pip(lock):
            return 5
        put_checkout_on_path()
        for name in STAMPED[lock]:
            shutil.copyfile(name, VENV / f"{name}.new")
            (VENV / f"{name}.new").rename(VENV / name)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1]))
    except KeyboardInterrupt:
        sys.exit(130)
