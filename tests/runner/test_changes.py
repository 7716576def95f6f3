"""The diff of what an agent changed, made by real git under real shells at the end of the entry script."""

import subprocess
from pathlib import Path

import pytest

from runner.agents.script import CHANGES_SCRIPT, WORK
from tests.components import need_program
from tests.runner.doors import TokenDoor
from tests.runner.test_entry import agent, lay_out, run

IDENTITY = "git config user.name t && git config user.email t@t"
CLONED = f"git init -q . && {IDENTITY} && echo one > a && echo '*.log' > .gitignore && git add . && git commit -qm x"


@pytest.fixture(autouse=True)
def _git() -> None:
    need_program("git")


def changes(shell: list[str], folder: Path, door: TokenDoor, script: str, *init: str) -> str:
    """The diff, once the agent has run this."""
    env = lay_out(folder, door, agent(script), **({"init": init} if init else {}))
    code, lines = run(shell, folder, {**env, "HOME": str(folder.parent)})
    assert code == 0, lines
    return (folder / ".preloop" / "changes.patch").read_text(errors="replace")


def headers(patch: str) -> list[str]:
    return [line for line in patch.splitlines() if line.startswith(("--- ", "+++ ", "Binary", "old mode", "deleted"))]


def test_without_init_everything_there_is_is_new(shell: list[str], tmp_path: Path, door: TokenDoor) -> None:
    patch = changes(shell, tmp_path, door, "mkdir sub; echo hello > 'sub/a b'; printf '\\0' > raw; echo x > -odd")
    assert sorted(headers(patch)) == sorted(
        ["--- /dev/null", "+++ b/-odd", "Binary files /dev/null and b/raw differ", "--- /dev/null", "+++ b/sub/a b\t"]
    )
    assert "\n+hello\n" in patch
    assert ".preloop" not in patch


def test_with_init_it_is_what_came_after(shell: list[str], tmp_path: Path, door: TokenDoor) -> None:
    patch = changes(
        shell, tmp_path, door, "echo two > a; rm b; echo new > c", "echo one > a; echo gone > b; echo same > d"
    )
    assert headers(patch) == [
        "--- a/a",
        "+++ b/a",
        "deleted file mode 100644",
        "--- a/b",
        "+++ /dev/null",
        "--- /dev/null",
        "+++ b/c",
    ]
    assert "-one\n+two\n" in patch


def test_in_a_clone_commits_of_the_agent_count_and_ignored_files_do_not(
    shell: list[str],
    tmp_path: Path,
    door: TokenDoor,
) -> None:
    patch = changes(shell, tmp_path, door, "echo two > a; echo l > x.log; git commit -qam mine", CLONED)
    assert headers(patch) == ["--- a/a", "+++ b/a"]


def test_init_clones_into_the_folder_where_it_begins(shell: list[str], tmp_path: Path, door: TokenDoor) -> None:
    for name in ("upstream", "job"):
        (tmp_path / name).mkdir()
    subprocess.run(["sh", "-ec", CLONED], cwd=tmp_path / "upstream", check=True)
    work = f"{IDENTITY}; cat a > seen; echo two > a; echo l > x.log; git commit -qam mine; git fetch -q"
    patch = changes(shell, tmp_path / "job", door, work, f"git clone -q 'file://{tmp_path}/upstream' .")
    assert headers(patch) == ["--- a/a", "+++ b/a", "--- /dev/null", "+++ b/seen"]
    assert "-one\n+two\n" in patch


def test_clones_in_folders_are_told_as_folders_and_those_of_the_agent_are_left_out(
    shell: list[str],
    tmp_path: Path,
    door: TokenDoor,
) -> None:
    init = f"mkdir 'my [repo]' && cd 'my [repo]' && {CLONED}"
    patch = changes(
        shell, tmp_path, door, "echo two > 'my [repo]/a'; git init -q own; echo x > own/f; echo y > out", init
    )
    assert headers(patch) == ["--- /dev/null", "+++ b/out", "--- a/my [repo]/a\t", "+++ b/my [repo]/a\t"]


def test_artifacts_and_the_result_are_no_part_of_it(shell: list[str], tmp_path: Path, door: TokenDoor) -> None:
    assert changes(shell, tmp_path, door, "mkdir artifacts; echo a > artifacts/a; echo {} > result.json") == ""


def test_it_has_an_end(tmp_path: Path, door: TokenDoor) -> None:
    patch = changes(["sh"], tmp_path, door, "yes 0123456789 | head -c 9000000 > big")
    assert len(patch) == 4 << 20


HOSTILE = f"""
git init -q . && {IDENTITY} && git config core.hooksPath hooks && git config core.fsmonitor "touch $PWD/ran; false"
git config filter.x.clean "touch $PWD/ran; cat" && git config diff.x.command "touch $PWD/ran"
git config diff.x.textconv "touch $PWD/ran; cat"
mkdir hooks && printf '#!/bin/sh\\ntouch "%s/ran"\\n' "$PWD" > hooks/post-index-change
chmod +x hooks/post-index-change
printf '[filter "x"]\\n\\tclean = touch %s/ran; cat\\n' "$PWD" > "$HOME/.gitconfig"
printf '[core]\\n\\tfsmonitor = touch %s/ran\\n' "$PWD" >> "$HOME/.gitconfig"
echo '* filter=x diff=x' > .gitattributes; echo text > a; ln -s /etc/passwd link; mkfifo pipe
"""


def test_no_program_of_a_repository_runs_and_no_link_is_followed(tmp_path: Path, door: TokenDoor) -> None:
    job = tmp_path / "job"
    job.mkdir()
    patch = changes(["sh"], job, door, HOSTILE + "rm -f ran")
    assert not (job / WORK / "ran").exists()
    assert "+text\n" in patch
    assert "root:" not in patch


def test_the_code_of_the_agent_stays_the_scripts(shell: list[str], tmp_path: Path, door: TokenDoor) -> None:
    env = lay_out(tmp_path, door, agent("echo x > a; exit 7"))
    assert run(shell, tmp_path, env)[0] == 7
    assert "+x" in (tmp_path / ".preloop" / "changes.patch").read_text()


@pytest.mark.shellcheck
def test_shellcheck_finds_nothing() -> None:
    need_program("shellcheck")
    found = subprocess.run(
        ["shellcheck", "--shell=sh", str(CHANGES_SCRIPT)], capture_output=True, text=True, check=False
    )
    assert found.stdout == ""
