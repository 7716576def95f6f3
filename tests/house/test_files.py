"""Sizes, names and what no committed file may say."""

import ast
import re
from pathlib import Path

import pytest

from tests.house.plan import ROOT, code, files, name

LINES, FUNCTION_LINES = 300, 40
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "service", "services", "base"}
GENERATED = {"control/tables.py"}  # one table after the other: it is read by searching
MIGRATIONS = "preloop/migrations/versions/"  # written by Alembic
# Spelled in pieces so that this file passes itself.
REGISTRIES = [
    ".".join(parts) for parts in (("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"), ("deb", "debian"))
]
MACHINE_PATHS = re.compile(r"(?<![\w.~/-])/(?:home|Users|root|work/main|work/shared)/[\w.-]+")


def test_no_file_is_longer_than_a_sitting() -> None:
    others = GENERATED | migrations()
    ours = (f for f in files(".py", ".js", ".css", ".html", ".sh") if name(f) not in others)
    long = {name(f): n for f in ours if (n := len(f.read_text().splitlines())) > LINES}
    assert not long


def migrations() -> set[str]:
    return {name(f) for f in files(".py") if name(f).startswith(MIGRATIONS)}


def test_no_function_is_longer_than_a_screen() -> None:
    long, others = {}, migrations()
    for path in (f for f in files(".py") if name(f) not in others):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
                size = node.end_lineno - node.lineno + 1
                if size > FUNCTION_LINES:
                    long[f"{name(path)}:{node.name}"] = size
    assert not long


def test_files_are_named_after_what_they_hold() -> None:
    assert not [name(f) for f in files(".py") if f.stem in EMPTY_NAMES or f.parent.name in EMPTY_NAMES]


def test_a_package_file_says_nothing_but_its_meaning() -> None:
    def is_docstring(node: ast.stmt) -> bool:
        return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)

    inits = (f for f in code() if f.name == "__init__.py")
    assert not [name(f) for f in inits if not all(map(is_docstring, ast.parse(f.read_text()).body))]


def test_every_module_opens_with_what_it_is() -> None:
    modules = (f for f in code() if f.name not in {"__init__.py", "__main__.py"} and "versions" not in f.parts)
    assert not [name(f) for f in modules if not ast.get_docstring(ast.parse(f.read_text()))]


@pytest.mark.parametrize("page", [name(f) for f in files(".md")])
def test_links_between_our_pages_lead_somewhere(page: str) -> None:
    links = re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", (ROOT / page).read_text())
    inside = [link.split("#")[0] for link in links if not re.match(r"[a-z]+:|#", link)]
    assert not [link for link in inside if not ((ROOT / page).parent / link).exists()]


def test_no_file_knows_a_registry_or_a_machine() -> None:
    def text(path: Path) -> str:
        return path.read_text(errors="ignore")

    found = {}
    for path in files():
        if path.name == "LICENSE":
            continue
        words = [host for host in REGISTRIES if host in text(path)]
        words += [hit[0] for hit in MACHINE_PATHS.finditer(text(path)) if hit[0] != "/home/agent"]
        if words:
            found[name(path)] = words
    assert not found
