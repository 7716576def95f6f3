"""The agents' CLIs as they go into their images: out of npm packages that a lock file in images/ pins by hash.

Install scripts do not run: what they would unpack is taken from where it lies. No agent installs anything when it runs.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path

from kit.errors import Unsuitable
from runner.rootfs import Rootfs

IMAGES = Path(__file__).parents[1] / "images"
PROGRAMS: Mapping[str, Mapping[str, str]] = {
    "codex": {
        "codex": "@openai/codex-linux-*/vendor/*/*/codex",
        "rg": "@openai/codex-linux-*/vendor/*/*/rg",
    },
    "gemini": {"node": "node-linux-*/bin/node"},
    "opencode": {"opencode": "opencode-linux-*/bin/opencode", "rg": "@vscode/ripgrep-linux-*/bin/rg"},
    "claude": {"claude": "@anthropic-ai/claude-code-linux-*/claude"},
}
"""Image → program → where it lies below node_modules."""
_INSTALL_S = 900


def gather(name: str) -> Callable[[Path], Rootfs]:
    """The recipe of an image that is nothing but programs."""

    def gathered(cache: Path) -> Rootfs:
        root = Rootfs()
        for program in PROGRAMS[name]:
            root.program(installed(name, program, cache), f"/usr/local/bin/{program}")
        return root

    return gathered


def gemini(cache: Path) -> Rootfs:
    """Its scripts, without the native modules that it can do without, on a node that is new enough for it."""
    root = gather("gemini")(cache)
    root.tree(folder("gemini", cache) / "node_modules/@google/gemini-cli", "/opt/gemini", leave_out=lambda _path: False)
    root.text("/usr/local/bin/gemini", '#!/bin/sh\nexec node /opt/gemini/bundle/gemini.js "$@"\n', mode=0o755)
    return root


def installed(name: str, program: str, cache: Path) -> Path:
    """A program of an image's packages on this machine; Unsuitable where its maker has none for it."""
    found = sorted((folder(name, cache) / "node_modules").glob(PROGRAMS[name][program]))
    if not found:
        raise Unsuitable("image_parts_missing", f"The npm package has no {program} for this machine.")
    return found[0]


def folder(name: str, cache: Path) -> Path:
    """The installed packages of an image; one folder per lock file, made once."""
    npm = need("npm", "apt install npm")
    lock = (IMAGES / name / "package-lock.json").read_bytes()
    done = cache / f"{name}-{sha256(lock).hexdigest()[:16]}"
    if done.exists():
        return done
    draft = cache / f"{done.name}.{os.getpid()}"
    draft.mkdir(parents=True)
    try:
        for file in ("package.json", "package-lock.json"):
            shutil.copy(IMAGES / name / file, draft / file)
        ran = subprocess.run(
            [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
            cwd=draft,
            capture_output=True,
            text=True,
            check=False,
            timeout=_INSTALL_S,
        )
        if ran.returncode != 0:
            raise Unsuitable("npm_failed", f"npm could not install {name}.", ran.stderr.strip()[-800:])
        draft.replace(done)
    except OSError:
        if not done.exists():  # else somebody else was faster, and made the same
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return done


def need(program: str, install: str) -> Path:
    found = shutil.which(program)
    if found is None:
        raise missing(program, install)
    return Path(found)


def missing(part: str, install: str) -> Unsuitable:
    return Unsuitable("image_parts_missing", f"Building this image needs {part}, which is not here.", install)
