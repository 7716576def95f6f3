"""Stand-ins for images that people pull from a registry, put together from parts of this machine: one with a Python,
PostgreSQL and HAProxy. They understand what compose.scale.yaml asks of the real ones, and no more.

Each is imported under a name of its own, with a digest of its parts, so that the next call finds it.
"""

import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from runner import recipes
from runner.clis import need
from runner.rootfs import Rootfs
from tests.components import postgres_programs

PYTHON, POSTGRES, PROXY = "preloop-test/python", "preloop-test/postgres", "preloop-test/haproxy"
_LABEL = "preloop-test.inputs"
_LEFT_OUT = {"test", "tests", "idlelib", "tkinter", "turtledemo", "__pycache__", "site-packages", "lib2to3"}
_STUBS = ("librt.so.1", "libpthread.so.0", "libdl.so.2", "libutil.so.1")
_ENTRY = """#!/bin/sh
set -eu
data=/var/lib/postgresql/data
if [ "$(id -u)" = 0 ]; then
    chown 999:999 "$data"
    exec /bin/su -s /bin/sh postgres -c "exec /entry.sh"
fi
if [ ! -e "$data/PG_VERSION" ]; then
    {bin}/initdb -D "$data" -U "$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" -A scram-sha-256 -E UTF8 --locale=C
    echo 'host all all all scram-sha-256' >>"$data/pg_hba.conf"
    {bin}/pg_ctl -D "$data" -o "-c listen_addresses= -k /tmp" -w start
    PGPASSWORD=$(cat "$POSTGRES_PASSWORD_FILE") {bin}/createdb -h /tmp -U "$POSTGRES_USER" "$POSTGRES_DB"
    {bin}/pg_ctl -D "$data" -m fast -w stop
fi
exec {bin}/postgres -D "$data" -c listen_addresses='*' -k /tmp
"""


def python(cache: Path) -> Rootfs:
    """What `ARG BASE` of the Dockerfile needs: a shell, Python with venv and pip, and the authorities pip trusts."""
    root = recipes.base(cache)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    root.program(Path(sys.executable).resolve(), f"/usr/local/bin/{version}")
    root.link("/usr/local/bin/python3", version)
    root.tree(
        Path(sysconfig.get_path("stdlib")), f"/usr/local/lib/{version}", leave_out=lambda path: path.name in _LEFT_OUT
    )
    for library in _STUBS:  # wheels name them, whatever moved into libc since
        found = next(folder / library for folder in Path("/usr/lib").glob("*-linux-gnu") if (folder / library).exists())
        root.file(found, f"/usr/lib/{library}")
    bundle = "/etc/ssl/certs/ca-certificates.crt"
    root.text("/etc/pip.conf", f"[global]\ncert = {bundle}\n")
    return root


def postgres(_cache: Path) -> Rootfs:
    programs = postgres_programs()
    assert programs
    root = _busybox()
    for name in ("initdb", "postgres", "pg_ctl", "createdb", "pg_isready", "psql"):
        root.program(programs / name, f"{programs}/{name}")
    for program in ("pg_isready", "psql"):
        root.link(f"/usr/bin/{program}", f"{programs}/{program}")
    versions, kept = programs.parent, {"bitcode", "bin"}
    root.tree(versions, str(versions), leave_out=lambda path: path.name in kept)
    shared = Path("/usr/share/postgresql") / versions.name
    root.tree(shared, str(shared), leave_out=lambda path: path.name == "man")
    zones = Path("/usr/share/zoneinfo")
    root.file(zones / "Etc" / "UTC", str(zones / "Etc" / "UTC"))
    root.text("/entry.sh", _ENTRY.format(bin=programs), mode=0o755)
    root.text("/etc/passwd", "root:x:0:0:root:/:/bin/sh\npostgres:x:999:999::/var/lib/postgresql:/bin/sh\n")
    root.text("/etc/group", "root:x:0:\npostgres:x:999:\n")
    root.folder("/var/lib/postgresql/data", mode=0o700, owner=999)
    return root


def proxy(_cache: Path) -> Rootfs:
    root = _busybox()
    program = shutil.which("haproxy")
    assert program
    root.program(Path(program), "/usr/local/sbin/haproxy")
    root.text("/etc/passwd", "root:x:0:0:root:/:/bin/sh\nhaproxy:x:99:99::/:/bin/sh\n")
    root.text("/etc/group", "root:x:0:\nhaproxy:x:99:\n")
    return root


_MADE = {
    PYTHON: (python, ('CMD ["python3"]',)),
    POSTGRES: (postgres, ('ENTRYPOINT ["/entry.sh"]',)),
    PROXY: (proxy, ("USER 99:99", "ENTRYPOINT []")),
}


def make(name: str, cache: Path) -> str:
    """Import it unless it is there as it would be made now; returns its name."""
    gather, changes = _MADE[name]
    root = gather(cache)
    digest = root.digest()
    asked = ["docker", "image", "inspect", "--format", f'{{{{index .Config.Labels "{_LABEL}"}}}}', name]
    if subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip() == digest:
        return name
    path = "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    words = [word for change in (path, f"LABEL {_LABEL}={digest}", *changes) for word in ("--change", change)]
    with tempfile.TemporaryFile() as packed:
        root.write(packed)
        packed.seek(0)
        subprocess.run(["docker", "import", *words, "-", name], stdin=packed, check=True, capture_output=True)
    return name


def _busybox() -> Rootfs:
    root = Rootfs()
    found = need("busybox", "apt install busybox-static")
    root.program(found, "/bin/busybox")
    told = subprocess.run([found, "--list"], capture_output=True, text=True, check=True).stdout.split()
    for applet in told:
        if applet != "busybox":
            root.link(f"/bin/{applet}", "/bin/busybox")
    for folder in ("/dev", "/proc", "/sys", "/etc", "/run"):
        root.folder(folder)
    root.folder("/tmp", mode=0o1777)
    return root
