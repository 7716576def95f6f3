"""Every migration says its phase, and one that is done beside older processes takes nothing away from them."""

import ast
from pathlib import Path

import pytest

from preloop.steps import Steps

STEPS = Steps()
FILES = sorted(STEPS.folder.glob("versions/[0-9]*.py"))
TAKES = {
    "drop_column",
    "drop_table",
    "drop_constraint",
    "rename_table",
    "create_unique_constraint",
    "create_check_constraint",
    "create_foreign_key",
    "create_exclude_constraint",
}


def narrowing(path: Path) -> list[str]:
    """What in a migration's upgrade older code could trip over. An index that goes makes it slower at worst."""
    functions = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)]
    calls = [node for f in functions if f.name != "downgrade" for node in ast.walk(f) if isinstance(node, ast.Call)]
    found = [call.func.attr for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr in TAKES]
    for call in calls:
        name, said = getattr(call.func, "attr", ""), {word.arg: ast.unparse(word.value) for word in call.keywords}
        if name == "alter_column" and (said.get("nullable") != "True" or {"new_column_name", "type_"} & said.keys()):
            found.append(f"alter_column: {said}")
        if name == "add_column" and (said_of := _column(call)) and said_of.get("nullable") == "False":
            found += [] if "server_default" in said_of else ["a new column without a default that may not be empty"]
        if name == "create_index" and said.get("unique") == "True" and not _of_new_table(call, calls):
            found.append("a unique index on a table that was there")
        if name == "execute" and any(
            word in ast.unparse(call).upper() for word in ("DROP ", "RENAME ", "SET NOT NULL")
        ):
            found.append("execute")
    return found


def _column(call: ast.Call) -> dict[str | None, str]:
    columns = [one for one in call.args if isinstance(one, ast.Call)]
    return {word.arg: ast.unparse(word.value) for one in columns for word in one.keywords}


def _of_new_table(call: ast.Call, calls: list[ast.Call]) -> bool:
    made = {ast.unparse(one.args[0]) for one in calls if getattr(one.func, "attr", "") == "create_table"}
    return bool(made & {ast.unparse(arg) for arg in call.args}) or "batch_op" in ast.unparse(call.func)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name[:4])
def test_a_migration_says_its_phase_and_keeps_to_it(path: Path) -> None:
    said = [line for line in path.read_text().splitlines() if line.startswith("phase = ")]
    assert said in (['phase = "pre"'], ['phase = "post"'])
    assert said == ['phase = "post"'] or not narrowing(path)


def test_what_takes_away_is_found() -> None:
    before = next(path for path in FILES if path.name.startswith("0005"))
    assert {"drop_table", "rename_table"} <= set(narrowing(before))
