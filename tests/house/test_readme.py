"""The README's commands, as a newcomer meets them: in an order in which each can run."""

import re
import shlex

import pytest
import typer.main

from preloop.cli import app
from tests.house.plan import ROOT

BLOCKS = re.findall(r"^```\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
LINES = [line for block in BLOCKS for line in block.replace("\\\n", " ").splitlines()]
COMMANDS = [line for line in LINES if re.match(r"(?:[A-Z_]+=\S+ )*(?:make|python|echo|\.venv/bin/)", line)]


def test_what_needs_the_environment_comes_after_what_makes_it() -> None:
    needs = [number for number, line in enumerate(COMMANDS) if ".venv/bin/" in line]
    makes = [number for number, line in enumerate(COMMANDS) if re.search(r"\bmake (?:demo|up)\b", line)]
    assert makes and needs
    assert makes[0] < needs[0]


@pytest.mark.parametrize("line", COMMANDS)
def test_no_command_takes_a_python_of_the_machine_s(line: str) -> None:
    assert not re.search(r"(?:^|[|&;]\s*)python", line), "it has none of our packages"


@pytest.mark.parametrize("line", COMMANDS)
def test_every_file_target_and_subcommand_of_the_readme_exists(line: str) -> None:
    words = shlex.split(line, comments=True)
    files = [word.rpartition("=")[2] for word in words if "examples/" in word]
    assert all((ROOT / file).exists() for file in files), files
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    assert {words[number + 1] for number, word in enumerate(words) if word == "make"} <= targets
    for number, word in enumerate(words):
        if word == ".venv/bin/preloop":
            known = typer.main.get_command(app)
            assert known.get_command(typer.Context(known), words[number + 1]) is not None  # type: ignore[attr-defined]
