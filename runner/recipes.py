"""What goes into each of our images, taken from this machine: no image registry is asked.

    base      busybox, bash, curl and git, node, CA certificates, the user `agent`
    relay     base + images/relay/relay.js, what stands between agents and plane; made beside each of the following
    scripted  base + this interpreter, its standard library, what `mcp` and `openai` need, images/scripted/agent.py
    codex, gemini, opencode, claude: base + what `clis` takes out of the npm packages that images/NAME pins

People who have a registry can build the ordinary Dockerfiles in `images/` instead.
"""

import json
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from runner import clis
from runner.clis import IMAGES, missing, need
from runner.rootfs import Rootfs

UID = 1000

_CERTIFICATES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
_STDLIB_LEFT_OUT = {
    *("test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "pydoc_data"),
    *("__pycache__", "site-packages", "dist-packages"),
}
_REQUIREMENT = re.compile(r"^\s*([A-Za-z0-9._-]+)\s*(?:\[([^\]]*)\])?")
_EXTRA = re.compile(r"""extra\s*==\s*["']([^"']+)["']""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """`on` is the recipe of the image below; `gather` is given a folder it may keep downloads in."""

    on: str | None
    gather: Callable[[Path], Rootfs]


def base(_cache: Path) -> Rootfs:
    root = Rootfs()
    busybox = need("busybox", "apt install busybox-static")
    node = need("node", "apt install nodejs")
    for applet in _told(busybox, "--list").split():
        root.link(f"/bin/{applet}", "/bin/busybox")
    root.program(busybox, "/bin/busybox")
    root.link("/usr/bin/env", "/bin/busybox")
    root.program(node, "/usr/local/bin/node")
    for shared in json.loads(_told(node, "-p", _SHARED_BUILTINS)):  # Debian's node reads parts of itself from files
        root.file(Path(shared), shared)
    if bash := shutil.which("bash"):
        root.program(Path(bash), "/bin/bash")
    if curl := shutil.which("curl"):  # the token is fetched with it sooner than node has started
        root.program(Path(curl), "/usr/bin/curl")
    _add_git(root)
    _add_names_and_certificates(root)
    root.folder("/tmp", mode=0o1777)
    for folder in ("/home/agent", "/workspace"):
        root.folder(folder, owner=UID)
    for folder in ("/dev", "/proc", "/sys", "/run", "/var/tmp"):
        root.folder(folder)
    return root


_SHARED_BUILTINS = (
    "JSON.stringify((process.config.variables.node_builtin_shareable_builtins || [])"
    ".filter(path => path.startsWith('/') && fs.existsSync(path)))"
)


def _add_git(root: Rootfs) -> None:
    """Steps of `init` clone; where this machine has no git, the image has none."""
    if (git := shutil.which("git")) is None:
        return
    root.program(Path(git), "/usr/bin/git")
    helpers = _told(Path(git), "--exec-path").strip()
    for name in ("git-remote-http", "git-remote-https"):
        if (helper := Path(helpers) / name).exists():
            root.program(helper, f"{helpers}/{name}")


def _add_names_and_certificates(root: Rootfs) -> None:
    root.text("/etc/passwd", f"root:x:0:0:root:/root:/bin/sh\nagent:x:{UID}:{UID}::/home/agent:/bin/sh\n")
    root.text("/etc/group", f"root:x:0:\nagent:x:{UID}:\n")
    root.text("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n")
    for folder in (Path("/lib"), Path("/usr/lib"), *Path("/usr/lib").glob("*-linux-gnu")):
        for name in ("libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2"):
            if (library := folder / name).exists():
                root.file(library, str(library))
    bundle = next((path for path in map(Path, _CERTIFICATES) if path.exists()), None)
    if bundle is None:
        raise missing("the system's CA certificates", "apt install ca-certificates")
    root.file(bundle, "/etc/ssl/certs/ca-certificates.crt")


def scripted(_cache: Path) -> Rootfs:
    root = Rootfs()
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    root.program(Path(sys.executable).resolve(), f"/opt/python/bin/{version}")
    root.link("/usr/local/bin/python3", f"/opt/python/bin/{version}")
    stdlib = Path(sysconfig.get_path("stdlib"))
    root.tree(stdlib, f"/opt/python/lib/{version}", leave_out=_leave_out_of_stdlib)
    for name in sorted(closure("mcp", "openai")):
        _add_distribution(root, metadata.distribution(name))
    root.file(IMAGES / "scripted" / "agent.py", "/opt/agent/agent.py")
    return root


def _leave_out_of_stdlib(path: Path) -> bool:
    return path.name in _STDLIB_LEFT_OUT or path.name.startswith(("config-", "_tkinter"))


def closure(*names: str) -> set[str]:
    """These distributions and all they need, by what is installed: what a marker rules out here is not installed."""
    found: dict[str, set[str]] = {}
    edge = [(name, frozenset[str]()) for name in names]
    while edge:
        name, extras = edge.pop()
        if name in found and extras <= found[name]:
            continue
        try:
            needs = metadata.distribution(name).requires or []
        except metadata.PackageNotFoundError:
            continue
        found[name] = found.get(name, set()) | extras
        edge += [_parse(need) for need in needs if _applies(need, found[name])]
    return set(found)


def _parse(requirement: str) -> tuple[str, frozenset[str]]:
    match = _REQUIREMENT.match(requirement)
    assert match, requirement
    extras = frozenset(extra.strip() for extra in (match[2] or "").split(",") if extra.strip())
    return re.sub(r"[-_.]+", "-", match[1]).lower(), extras


def _applies(requirement: str, extras: set[str]) -> bool:
    wanted = _EXTRA.findall(requirement.partition(";")[2])
    return not wanted or any(extra in extras for extra in wanted)


def _add_distribution(root: Rootfs, found: metadata.Distribution) -> None:
    modules = []
    for file in found.files or ():
        source = Path(str(file.locate()))
        if ".." not in file.parts and "__pycache__" not in file.parts and source.is_file():
            root.file(source, f"/opt/agent/site/{file}")
            modules += [source] if ".so" in source.suffixes else []
    root.libraries_of(modules)


def relay(_cache: Path) -> Rootfs:
    root = Rootfs()
    root.file(IMAGES / "relay" / "relay.js", "/opt/relay/relay.js")
    return root


def _told(program: Path, *words: str) -> str:
    return subprocess.run([program, *words], capture_output=True, text=True, check=True).stdout


RECIPES = {
    "base": Recipe(on=None, gather=base),
    "relay": Recipe(on="base", gather=relay),
    "scripted": Recipe(on="base", gather=scripted),
    "codex": Recipe(on="base", gather=clis.gather("codex")),
    "gemini": Recipe(on="base", gather=clis.gemini),
    "opencode": Recipe(on="base", gather=clis.gather("opencode")),
    "claude": Recipe(on="base", gather=clis.gather("claude")),
}
