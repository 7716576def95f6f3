"""entry.sh under real shells, started by the process engine's own layout of a job."""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from runner.agents.script import ENTRY_SCRIPT, GUARD_SCRIPT, WORK, AgentPlan, Brief, assemble
from tests.components import need_program
from tests.runner.doors import TOKEN, TokenDoor


def brief_for(door: TokenDoor, **changes: object) -> Brief:
    brief = Brief(
        execution_id="exe_1",
        model="default",
        prompt="do it\n",
        payload_json="{}",
        mcp_url="http://plane/mcp/v1",
        gateway_url="http://plane",
        control_url=door.url,
    )
    return replace(brief, **changes)  # type: ignore[arg-type]


def lay_out(folder: Path, door: TokenDoor, plan: AgentPlan, **changes: object) -> dict[str, str]:
    """Write the job's files as an engine does; returns the environment it would give."""
    job = assemble(plan, brief_for(door, **changes), name="job", instance="t", bootstrap_token="once")
    for path, content in job.files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return {"PATH": os.environ["PATH"], **job.env}


def agent(script: str, **fields: object) -> AgentPlan:
    return AgentPlan(image="", argv=("sh", "-c", script), **fields)  # type: ignore[arg-type]


def run(shell: list[str], folder: Path, env: dict[str, str]) -> tuple[int, list[str]]:
    done = subprocess.run(
        [*shell, ".preloop/entry.sh"], cwd=folder, env=env, stdout=subprocess.PIPE, timeout=30, check=False
    )
    return done.returncode, done.stdout.decode().splitlines()


def test_the_agent_runs_between_the_markers_and_its_code_is_the_scripts(
    shell: list[str], tmp_path: Path, door: TokenDoor
) -> None:
    env = lay_out(tmp_path, door, agent("echo out; echo err >&2; exit 7"))
    assert run(shell, tmp_path, env) == (
        7,
        ["PRELOOP_AGENT_EXEC_START", "out", "err", "PRELOOP_AGENT_EXEC_END 7"],
    )
    assert door.bearers == ["Bearer once"]


def test_only_the_script_can_write_a_marker(shell: list[str], tmp_path: Path, door: TokenDoor) -> None:
    forge = "echo PRELOOP_AGENT_EXEC_END 0; echo PRELOOP_AGENT_EXEC_START >&2; printf PRELOOP_AGENT_EXEC_END"
    env = lay_out(tmp_path, door, agent(forge + "; exit 3"), init=(forge,))
    forged = [" PRELOOP_AGENT_EXEC_END 0", " PRELOOP_AGENT_EXEC_START", " PRELOOP_AGENT_EXEC_END"]
    assert run(shell, tmp_path, env) == (
        3,
        [*forged, "PRELOOP_AGENT_EXEC_START", *forged, "PRELOOP_AGENT_EXEC_END 3"],
    )


def test_the_token_reaches_the_agent_and_not_init(shell: list[str], tmp_path: Path, door: TokenDoor) -> None:
    env = lay_out(tmp_path, door, agent("env > seen-by-agent"), init=("env > seen-by-init",))
    assert run(shell, tmp_path, env)[0] == 0
    init, seen = [(tmp_path / WORK / f"seen-by-{who}").read_text() for who in ("init", "agent")]
    assert TOKEN not in init
    assert "once" not in init
    assert "once" not in seen
    for key in ("PRELOOP_API_TOKEN", "OPENAI_API_KEY", "ANTHROPIC_AUTH_TOKEN", "GEMINI_API_KEY"):
        assert f"{key}={TOKEN}\n" in seen
    assert "OPENAI_BASE_URL=http://plane/openai/v1\n" in seen
    assert f"PRELOOP_PROMPT_FILE={tmp_path}/.preloop/prompt.txt\n" in seen


def test_without_the_gateway_no_wire_is_set_up(shell: list[str], tmp_path: Path, door: TokenDoor) -> None:
    env = lay_out(tmp_path, door, agent("env > seen", gateway=False, env={"OPENAI_API_KEY": "granted"}))
    assert run(shell, tmp_path, env)[0] == 0
    seen = (tmp_path / WORK / "seen").read_text()
    assert "OPENAI_API_KEY=granted\n" in seen
    assert "BASE_URL" not in seen
    assert f"PRELOOP_API_TOKEN={TOKEN}\n" in seen


def test_arguments_arrive_as_they_were(shell: list[str], tmp_path: Path, door: TokenDoor) -> None:
    odd = ("two\nlines\n", "", "  $(id) `id` \"'", "back\\slash \\n \\c", "-n", "żółć")
    plan = AgentPlan(image="", argv=("printf", "<%s>", *odd), stdin="")
    code, lines = run(shell, tmp_path, lay_out(tmp_path, door, plan))
    assert code == 0
    assert "\n".join(lines[1:-1]) == "".join(f"<{argument}>" for argument in odd)


def test_the_agent_reads_its_stdin_from_the_plan(shell: list[str], tmp_path: Path, door: TokenDoor) -> None:
    env = lay_out(tmp_path, door, AgentPlan(image="", argv=("cat",), stdin="line 1\nline 2\n"))
    assert run(shell, tmp_path, env)[1][1:-1] == ["line 1", "line 2"]


def test_a_failing_init_ends_it_before_the_start_marker(shell: list[str], tmp_path: Path, door: TokenDoor) -> None:
    env = lay_out(tmp_path, door, agent("echo never"), init=("echo one", "sh -c 'exit 4'", "echo two"))
    assert run(shell, tmp_path, env) == (4, ["one", "preloop: init ended with exit code 4"])


def test_a_used_token_ends_with_86_before_the_agent(shell: list[str], tmp_path: Path, door: TokenDoor) -> None:
    door.statuses = [409]
    code, lines = run(shell, tmp_path, lay_out(tmp_path, door, agent("echo never"), init=("echo never",)))
    assert code == 86
    assert len(lines) == 1
    assert "another agent runs for it" in lines[0]


def test_a_refused_token_is_not_tried_again(shell: list[str], tmp_path: Path, door: TokenDoor) -> None:
    door.statuses = [401]
    code, lines = run(shell, tmp_path, lay_out(tmp_path, door, agent("echo never")))
    assert (code, lines) == (1, ["preloop: the control plane refused this agent's token (HTTP 401)"])
    assert len(door.bearers) == 1


def test_a_control_plane_that_comes_back_is_waited_for(tmp_path: Path, door: TokenDoor) -> None:
    door.statuses = [503, 200]
    code, lines = run(["sh"], tmp_path, lay_out(tmp_path, door, agent("echo ran")))
    assert code == 0
    assert "ran" in lines
    assert len(door.bearers) == 2


@pytest.mark.parametrize("tool", ["curl", "node", "python3"])
def test_an_exchange_whose_answer_was_lost_is_repeated_by_the_same_key_and_no_other_has_it(
    tool: str, tmp_path: Path, door: TokenDoor
) -> None:
    need_program(tool)
    env = lay_out(tmp_path, door, agent("env"))
    env["PATH"] = str(only(tmp_path / "bin", tool, "env"))
    door.statuses = [503, 200]
    _, lines = run(["sh"], tmp_path, env)
    run(["sh"], tmp_path, env)
    first, again, other = door.keys
    assert (len(first), first == again, first == other) == (32, True, False)
    assert not any(first in line for line in lines), "the agent does not get it"


@pytest.mark.parametrize("tool", ["curl", "node", "python3"])
def test_any_of_three_tools_can_exchange_the_token(tool: str, tmp_path: Path, door: TokenDoor) -> None:
    need_program(tool)
    env = lay_out(tmp_path, door, agent("echo $PRELOOP_API_TOKEN"))
    env["PATH"] = str(only(tmp_path / "bin", tool))
    assert run(["sh"], tmp_path, env) == (0, ["PRELOOP_AGENT_EXEC_START", TOKEN, "PRELOOP_AGENT_EXEC_END 0"])
    assert door.bearers == ["Bearer once"]
    door.statuses = [409]
    assert run(["sh"], tmp_path, env)[0] == 86


def test_an_image_without_any_of_them_says_so(tmp_path: Path, door: TokenDoor) -> None:
    env = lay_out(tmp_path, door, agent("echo never"))
    env["PATH"] = str(only(tmp_path / "bin"))
    code, lines = run(["sh"], tmp_path, env)
    assert code == 1
    assert "neither curl nor node nor python3" in lines[0]


def only(folder: Path, *tools: str) -> Path:
    """A PATH with what every image has and these tools; wrappers, because a python3 may need to know where it lives."""
    folder.mkdir()
    for tool in ("awk", "cat", "date", "sed", "mkdir", "mkfifo", "rm", "sleep", "setsid", "od", "tr", *tools):
        if found := sys.executable if tool == "python3" else shutil.which(tool):
            (folder / tool).write_text(f'#!/bin/sh\nexec {found} "$@"\n')
            (folder / tool).chmod(0o755)
    (folder / "sh").symlink_to("/bin/sh")
    return folder


def test_term_reaches_the_agents_whole_group_once_and_its_last_words_are_kept(
    shell: list[str], tmp_path: Path, door: TokenDoor
) -> None:
    script = "trap 'echo bye; exit 5' TERM; sleep 60 & echo ready; wait"
    with started(shell, tmp_path, lay_out(tmp_path, door, agent(script))) as process:
        read_until(process, "ready")
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read().decode().splitlines()  # type: ignore[union-attr]
    assert rest == ["bye", "PRELOOP_AGENT_EXEC_END 5"]
    assert process.returncode == 5


def test_term_during_init_never_starts_the_agent(shell: list[str], tmp_path: Path, door: TokenDoor) -> None:
    env = lay_out(tmp_path, door, agent("echo never"), init=("echo preparing", "sleep 60"))
    with started(shell, tmp_path, env) as process:
        read_until(process, "preparing")
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read().decode()  # type: ignore[union-attr]
    assert process.returncode == 143
    assert "never" not in rest


def test_term_during_the_sleep_after_keeps_the_agents_code(shell: list[str], tmp_path: Path, door: TokenDoor) -> None:
    env = lay_out(tmp_path, door, agent("exit 6"), post_exec_sleep_s=60)
    with started(shell, tmp_path, env) as process:
        read_until(process, "PRELOOP_AGENT_EXEC_END 6")
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 6


def test_lines_arrive_while_the_agent_still_runs(shell: list[str], tmp_path: Path, door: TokenDoor) -> None:
    env = lay_out(tmp_path, door, agent("echo first; read go < ../gate; echo second"))
    os.mkfifo(tmp_path / "gate")
    with started(shell, tmp_path, env) as process:
        read_until(process, "first")
        (tmp_path / "gate").write_text("go\n")
        read_until(process, "second")
    assert process.returncode == 0


def test_a_daemon_left_behind_does_not_keep_the_run_open(tmp_path: Path, door: TokenDoor) -> None:
    env = lay_out(tmp_path, door, agent("setsid sleep 60 & echo $! > daemon; echo done"))
    with started(["sh"], tmp_path, env) as process:
        read_until(process, "PRELOOP_AGENT_EXEC_END 0")
    os.kill(int((tmp_path / WORK / "daemon").read_text()), signal.SIGKILL)
    assert process.returncode == 0


def test_a_command_that_is_not_there_is_the_agents_failure(shell: list[str], tmp_path: Path, door: TokenDoor) -> None:
    code, lines = run(shell, tmp_path, lay_out(tmp_path, door, AgentPlan(image="", argv=("no-such-agent",))))
    assert code == 127
    assert lines[0] == "PRELOOP_AGENT_EXEC_START"
    assert lines[-1] == "PRELOOP_AGENT_EXEC_END 127"


@pytest.mark.shellcheck
@pytest.mark.parametrize("script", [ENTRY_SCRIPT, GUARD_SCRIPT], ids=lambda script: script.name)
def test_the_script_is_clean(script: Path) -> None:
    found = subprocess.run(["shellcheck", "--shell=sh", str(script)], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "")


class started:
    """The script as a process; whatever happens, it does not outlive the test."""

    def __init__(self, shell: list[str], folder: Path, env: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [*shell, ".preloop/entry.sh"], cwd=folder, env=env, stdout=subprocess.PIPE, start_new_session=True
        )

    def __enter__(self) -> "subprocess.Popen[bytes]":
        return self.process

    def __exit__(self, kind: type[BaseException] | None, *_rest: object) -> None:
        try:
            if kind is None:
                self.process.wait(20)
        finally:
            self.process.kill()
            self.process.wait()
            assert self.process.stdout
            self.process.stdout.close()


def read_until(process: "subprocess.Popen[bytes]", wanted: str) -> None:
    assert process.stdout
    for line in process.stdout:
        if line.decode().strip() == wanted:
            return
    pytest.fail(f"the output ended without {wanted!r}")
