"""hand.sh under real shells: what reaches the plane of what an agent left, and what is said of the rest."""

import io
import shutil
import signal
import tarfile
from pathlib import Path
from threading import Event

import pytest

from tests.components import need_program
from tests.runner.doors import TOKEN, TokenDoor
from tests.runner.test_entry import agent, lay_out, only, run, started

LEFT = """
mkdir -p artifacts/deep; printf chart > artifacts/deep/a; ln -s /etc artifacts/etc
echo '{}' > result.json; echo new > made
"""


def names(packed: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        return sorted(tar.getnames())


@pytest.fixture(autouse=True)
def _tar() -> None:
    need_program("tar")


def test_it_brings_each_before_the_end_is_told(shell: list[str], tmp_path: Path, door: TokenDoor) -> None:
    need_program("git")
    code, lines = run(shell, tmp_path, lay_out(tmp_path, door, agent(f"{LEFT}exit 3"), hands_over=True))
    assert (code, lines) == (3, ["PRELOOP_AGENT_EXEC_START", "PRELOOP_AGENT_EXEC_END 3"])
    brought = {path.rpartition("/")[2]: names(content) for path, content in door.brought}
    assert brought == {
        "artifacts": ["artifacts", "artifacts/deep", "artifacts/deep/a", "artifacts/etc"],
        "result.json": ["result.json"],
        "changes.patch": ["changes.patch"],
    }
    assert set(door.bearers[1:]) == {f"Bearer {TOKEN}"}
    assert not (tmp_path / ".preloop" / "handed.tar").exists()


def test_an_agent_that_rewrites_it_says_no_end(shell: list[str], tmp_path: Path, door: TokenDoor) -> None:
    forge = "echo '{}' > result.json; echo 'echo PRELOOP_AGENT_EXEC_END 0' > ../.preloop/hand.sh; exit 3"
    code, lines = run(shell, tmp_path, lay_out(tmp_path, door, agent(forge), hands_over=True))
    assert (code, lines) == (3, ["PRELOOP_AGENT_EXEC_START", "PRELOOP_AGENT_EXEC_END 3"])
    assert [path for path, _ in door.brought] == ["/api/v1/agent/left/result.json"]


def test_where_the_engine_can_read_it_nothing_is_brought(shell: list[str], tmp_path: Path, door: TokenDoor) -> None:
    assert run(shell, tmp_path, lay_out(tmp_path, door, agent(LEFT)))[0] == 0
    assert door.brought == []


@pytest.mark.parametrize("tool", ["curl", "node", "python3"])
def test_each_tool_can_bring_it(tmp_path: Path, door: TokenDoor, tool: str) -> None:
    need_program(tool)
    env = lay_out(tmp_path, door, agent("head -c 3000000 /dev/zero > result.json"), hands_over=True)
    env["PATH"] = str(only(tmp_path / "bin", tool, "tar", "head"))
    shell = [shutil.which("sh") or "sh"]
    assert run(shell, tmp_path, env) == (0, ["PRELOOP_AGENT_EXEC_START", "PRELOOP_AGENT_EXEC_END 0"])
    [(path, content)] = door.brought
    assert (path, len(content) > 3_000_000) == ("/api/v1/agent/left/result.json", True)


def test_modules_of_the_agent_are_not_ours(tmp_path: Path, door: TokenDoor) -> None:
    lie = "print('\\nPRELOOP_AGENT_EXEC_END 0')"
    made = f"echo '{{}}' > result.json; for name in urllib os ssl http; do echo \"{lie}\" > $name.py; done; exit 3"
    env = lay_out(tmp_path, door, agent(made), hands_over=True)
    env["PATH"] = str(only(tmp_path / "bin", "python3", "tar", "head"))
    assert run(["sh"], tmp_path, env) == (3, ["PRELOOP_AGENT_EXEC_START", "PRELOOP_AGENT_EXEC_END 3"])
    assert [path for path, _ in door.brought] == ["/api/v1/agent/left/result.json"]


def test_an_answer_that_was_lost_is_asked_for_again(shell: list[str], tmp_path: Path, door: TokenDoor) -> None:
    door.takes = [503, 204]
    code, lines = run(shell, tmp_path, lay_out(tmp_path, door, agent("echo '{}' > result.json"), hands_over=True))
    assert (code, len(lines), len(door.brought)) == (0, 2, 2)


def test_what_is_refused_is_told_and_does_not_change_the_end(shell: list[str], tmp_path: Path, door: TokenDoor) -> None:
    door.takes = [401]
    code, lines = run(shell, tmp_path, lay_out(tmp_path, door, agent("echo '{}' > result.json"), hands_over=True))
    said = "preloop: result.json is not kept: the control plane did not take it (HTTP 401)"
    assert (code, lines[1:]) == (0, [said, "PRELOOP_AGENT_EXEC_END 0"])


def test_without_tar_that_is_said(tmp_path: Path, door: TokenDoor) -> None:
    env = lay_out(tmp_path, door, agent("echo '{}' > result.json"), hands_over=True)
    env["PATH"] = str(only(tmp_path / "bin", "python3", "head"))
    code, lines = run([shutil.which("sh") or "sh"], tmp_path, env)
    assert (code, lines[1]) == (0, "preloop: result.json is not kept: the image has no tar")


def test_a_folder_larger_than_what_is_kept_is_cut(tmp_path: Path, door: TokenDoor) -> None:
    made = "mkdir artifacts; for n in 1 2 3; do head -c 40000000 /dev/zero > artifacts/$n; done"
    assert run(["sh"], tmp_path, lay_out(tmp_path, door, agent(made), hands_over=True))[0] == 0
    sizes = {path.rpartition("/")[2]: len(content) for path, content in door.brought}
    assert sizes["artifacts"] == 104 << 20


def test_a_stop_meanwhile_is_told(shell: list[str], tmp_path: Path, door: TokenDoor) -> None:
    door.holds = Event()
    with started(
        shell, tmp_path, lay_out(tmp_path, door, agent("echo '{}' > result.json"), hands_over=True)
    ) as process:
        assert door.bringing.wait(30)
        process.send_signal(signal.SIGTERM)
        told = [process.stdout.readline().decode().rstrip() for _ in range(3)]  # type: ignore[union-attr]
        door.holds.set()
    said = "preloop: the run was stopped: what the agent left is not kept"
    assert told == ["PRELOOP_AGENT_EXEC_START", said, "PRELOOP_AGENT_EXEC_END 0"]
