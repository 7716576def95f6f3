"""What a test may need from the machine, how it is recognised, and the command that installs it.

`need(name)` skips by name and reason where the component is missing; with CI=true that is a failure, because `.ci/run`
installed it. A marker of the same name on a test asks for it.
"""

import functools
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """`missing` says why it can't be used here, or None when it can."""

    name: str
    missing: Callable[[], str | None]
    install: str


def on_path(*names: str) -> str | None:
    absent = [name for name in names if not shutil.which(name)]
    return f"{' and '.join(absent)} not on PATH" if absent else None


def postgres_programs() -> Path | None:
    """The folder that holds initdb and pg_ctl: Debian keeps them off PATH."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((f for f in folders if (f / "initdb").exists() and (f / "pg_ctl").exists()), None)


def chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def _docker() -> str | None:
    if reason := on_path("docker"):
        return reason
    try:
        asked = subprocess.run(
            ["docker", "version", "--format", "{{.Server.Version}}"], capture_output=True, text=True, timeout=20
        )
    except subprocess.TimeoutExpired:
        return "the engine did not answer in 20 s"
    return None if asked.returncode == 0 else "no engine answers: " + asked.stderr.strip().splitlines()[-1]


def _netns() -> str | None:
    return on_path("ip") or (None if os.geteuid() == 0 else "only root makes network namespaces")


def _codex() -> str | None:
    return on_path("npm") or _docker()


COMPONENTS = {
    part.name: part
    for part in (
        Component(name="docker", missing=functools.cache(_docker), install="apt install docker.io, then start dockerd"),
        Component(
            name="browser",
            missing=lambda: None if chromium() else "no Chromium on PATH",
            install="apt install chromium",
        ),
        Component(
            name="postgres",
            missing=lambda: None if postgres_programs() else "no initdb on PATH or in /usr/lib/postgresql",
            install="apt install postgresql",
        ),
        Component(name="node", missing=lambda: on_path("node", "npm"), install="apt install nodejs npm"),
        Component(name="shellcheck", missing=lambda: on_path("shellcheck"), install="apt install shellcheck"),
        Component(name="bwrap", missing=lambda: on_path("bwrap"), install="apt install bubblewrap"),
        Component(name="netns", missing=_netns, install="run as root, with iproute2"),
        Component(
            name="compose",
            missing=lambda: on_path("docker-compose", "haproxy"),
            install="apt install docker-compose haproxy",
        ),
        Component(name="codex", missing=functools.cache(_codex), install="apt install docker.io nodejs npm"),
    )
}


def need(name: str) -> None:
    part = COMPONENTS[name]
    if reason := part.missing():
        absent(f"{name} is missing: {reason} ({part.install})")


def need_program(name: str) -> None:
    """The same for a program that only a case of a test runs."""
    if reason := on_path(name):
        absent(reason)


def absent(message: str) -> NoReturn:
    """Skip the test, or fail it where everything has been installed."""
    if os.environ.get("CI") == "true":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)
