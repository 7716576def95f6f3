"""The floors hold, the pure files are pure, and one file reads the environment."""

import ast
import re
import subprocess
import sys

from tests.house.plan import ROOT, code, contract, module, name, pure_files

IMPURE_NEIGHBOURS = ("kit.db", "kit.bus", "kit.clock", "kit.http", "kit.outbound")
ENVIRONMENT = {"environ", "environb", "getenv", "getenvb", "putenv"}


def test_the_import_contracts_hold() -> None:
    lint = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-logo"]
    done = subprocess.run(lint, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


def test_every_pure_file_is_under_contract() -> None:
    assert pure_files() - set(contract("pure files")["source_modules"]) == set()


def test_every_file_under_contract_is_named_pure() -> None:
    assert set(contract("pure files")["source_modules"]) - pure_files() == set()


def test_whoever_calls_itself_pure_is_and_nobody_else_does() -> None:
    said = {
        module(path) for path in code() if re.search(r"\bPure\b", ast.get_docstring(ast.parse(path.read_text())) or "")
    }
    assert said == pure_files()


def test_pure_files_are_kept_from_our_own_machinery() -> None:
    present = {module(path) for path in code()} & set(IMPURE_NEIGHBOURS)
    assert present - set(contract("pure files")["forbidden_modules"]) == set()


ALLOWED = {
    "preloop/settings.py",
    "gateway/provider.py",
}  # LiteLLM is told by the environment alone to stay off the network


def test_only_the_settings_read_the_environment() -> None:
    def reads(source: str) -> bool:
        return any(
            (isinstance(node, ast.Attribute) and node.attr in ENVIRONMENT and getattr(node.value, "id", "") == "os")
            or (
                isinstance(node, ast.ImportFrom)
                and node.module == "os"
                and any(a.name in ENVIRONMENT for a in node.names)
            )
            for node in ast.walk(ast.parse(source))
        )

    readers = [name(path) for path in code() if reads(path.read_text())]
    assert [reader for reader in readers if reader not in ALLOWED] == []


def test_litellm_is_imported_when_it_is_needed() -> None:
    """It takes seconds and 166 MB, so never at the top of a file."""

    def imports(node: ast.stmt) -> bool:
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        return any(n.split(".")[0] == "litellm" for n in names)

    assert not [name(p) for p in code() if any(map(imports, ast.parse(p.read_text()).body))]


def test_a_command_that_asks_a_plane_brings_no_database_along() -> None:
    look = [sys.executable, "-c", "import sys, preloop.cli; print('sqlalchemy' in sys.modules)"]
    done = subprocess.run(look, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("False\n", "")
