"""The pinned CLIs in a folder of their own, installed once per lock: npm checks every package against its hash.

Install scripts stay off. What a package would have unpacked then is called where it lies.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

from tests.components import absent

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "preloop" / "clis"
INSTALL_S = 600
BINARIES = {
    "codex": "node_modules/@openai/codex/bin/codex.js",
    "gemini": "node_modules/@google/gemini-cli/bundle/gemini.js",
    "opencode": "node_modules/opencode-linux-x64/bin/opencode",
    "claude": "node_modules/@anthropic-ai/claude-code-linux-x64/claude",
}


def binary(name: str) -> Path:
    """The program of one CLI; where its maker has none for this machine, the test is skipped."""
    found = folder(HERE) / BINARIES[name]
    if not found.exists():
        absent(f"{name} has no program for this machine")
    return found


@cache
def folder(locked: Path) -> Path:
    """Where the packages of a lock are, made on the first call."""
    lock = (locked / "package-lock.json").read_bytes()
    made = CACHE / hashlib.sha256(lock).hexdigest()[:16]
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not made.exists():
            _install(locked, made)
    return made


def _install(locked: Path, made: Path) -> None:
    half = made.with_suffix(".half")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir()
    for file in ("package.json", "package-lock.json"):
        shutil.copy(locked / file, half)
    npm = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    subprocess.run(npm, cwd=half, check=True, capture_output=True, text=True, timeout=INSTALL_S)
    half.rename(made)
