"""The tree as the house tests see it: which files are ours, and what ARCHITECTURE.md says of them."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PACKAGES = ("kit", "ledger", "control", "gateway", "mcp_server", "runner", "access", "web", "preloop")
SKIPPED = {"vendor", "node_modules", "__pycache__", "build", "dist"}


def files(*suffixes: str, under: Path = ROOT) -> Iterator[Path]:
    """Our files: nothing hidden but `.ci`, nothing vendored or built."""
    for path in sorted(under.iterdir()):
        if path.name in SKIPPED or (path.name.startswith(".") and path.name != ".ci") or path.is_symlink():
            continue
        if path.is_dir():
            yield from files(*suffixes, under=path)
        elif not suffixes or path.suffix in suffixes or (".sh" in suffixes and is_shell(path)):
            yield path


def is_shell(path: Path) -> bool:
    return not path.suffix and path.read_bytes()[:20].startswith((b"#!/bin/sh", b"#!/bin/bash"))


def code() -> Iterator[Path]:
    for package in PACKAGES:
        yield from files(".py", under=ROOT / package)


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def contract(begins: str) -> dict[str, Any]:
    contracts: list[dict[str, Any]] = project()["tool"]["importlinter"]["contracts"]
    return next(c for c in contracts if c["name"].startswith(begins))


def pure_files() -> set[str]:
    """Module names from the section "Pure files" of ARCHITECTURE.md that exist by now."""
    section = (ROOT / "ARCHITECTURE.md").read_text().split("## Pure files")[1].split("\n## ")[0]
    found: set[str] = set()
    for pattern in re.findall(r"`([a-z_]+/[a-z_/*]+)`", section):
        found |= {module(path) for path in ROOT.glob(pattern + ".py") if path.name != "__init__.py"}
    return found


def module(path: Path) -> str:
    return name(path).removesuffix(".py").replace("/", ".")
