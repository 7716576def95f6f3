"""The short shell files keep their promises before any package is installed."""

import os
import re
import subprocess
from pathlib import Path

from tests.house.plan import ROOT

NAMES = ["conformance", "mcp", "approvals", "gateway", "money", "agents", "isolation", "recovery", "queue", "chaos"]
NAMES += ["pages", "live", "capacity", "scale"]


def shell(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **environment}
    return subprocess.run(["/bin/sh", "-c", command], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)


def test_the_table_of_claims_and_the_names_of_show_agree() -> None:
    table = re.findall(r"^\| `scripts/show (\w+)", (ROOT / "docs/claims.md").read_text(), re.MULTILINE)
    usage = shell("scripts/show").stderr.split("names: ")[1].split()
    assert table == usage == NAMES


def test_a_claim_that_is_not_built_says_so() -> None:
    unbuilt = [n for n in NAMES if not (ROOT / f"bench/show_{n}.py").exists()]
    for name in unbuilt:
        shown = shell(f"scripts/show {name}")
        assert (shown.returncode, "not shown yet" in shown.stderr) == (2, True)
        assert "not shown yet" in next(r for r in claims() if f"show {name}`" in r)


def claims() -> list[str]:
    return [line for line in (ROOT / "docs/claims.md").read_text().splitlines() if line.startswith("| `scripts/show")]


def test_an_unknown_claim_is_a_usage_error() -> None:
    shown = shell("scripts/show everything")
    assert shown.returncode == 2
    assert "usage:" in shown.stderr


def fake_python(folder: Path, name: str, body: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def test_a_python_that_cannot_start_is_passed_over(tmp_path: Path) -> None:
    fake_python(tmp_path, "python3.13", "echo shim: not installed >&2; exit 127")
    fake_python(tmp_path, "python3.12", "exit 0")
    found = shell(". scripts/venv.sh; find_python", PATH=f"{tmp_path}:/usr/bin:/bin", PYTHON="")
    assert found.stdout == "python3.12\n"


def test_a_python_without_ensurepip_is_named_with_its_remedy(tmp_path: Path) -> None:
    for version in ("3.13", "3.12", "3.11", "3"):
        fake_python(tmp_path, f"python{version}", 'case "$2" in *ensurepip*) exit 1 ;; esac')
    found = shell(". scripts/venv.sh; find_python", PATH=f"{tmp_path}:/usr/bin:/bin", PYTHON="")
    assert found.returncode == 5
    assert "python3-venv" in found.stderr


def test_no_python_is_one_sentence(tmp_path: Path) -> None:
    for version in ("3.13", "3.12", "3.11", "3"):
        fake_python(tmp_path, f"python{version}", "exit 1")
    found = shell(". scripts/venv.sh; find_python", PATH=f"{tmp_path}:/usr/bin:/bin", PYTHON="")
    assert (found.returncode, len(found.stderr.splitlines())) == (5, 1)
