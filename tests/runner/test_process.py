"""The process engine with real processes."""

import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from kit.errors import Fault, Invalid, Missing
from runner import keeper
from runner.engine import Exit, Job
from runner.process import ProcessEngine
from tests.waiting import until

LABELS = {"preloop.instance": "t", "preloop.execution": "exe_1"}


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[ProcessEngine]:
    """Whatever a test started ends with it."""
    async with ProcessEngine(tmp_path / "jobs") as engine:
        yield engine
        with anyio.fail_after(30):
            for found in await engine.jobs("t"):
                await engine.remove(found.name)


def job(script: str, **fields: object) -> Job:
    made = Job(name="job", image="", argv=("sh", "-c", script), env={}, files={}, labels=LABELS)
    return replace(made, **fields)  # type: ignore[arg-type]


async def begin(engine: ProcessEngine, made: Job) -> str:
    await engine.prepare(made)
    return await engine.start(made)


async def output(engine: ProcessEngine, handle: str, after: str = "") -> list[str]:
    with anyio.fail_after(20):
        return [line.text async for line in engine.logs(handle, after=after)]


async def first(engine: ProcessEngine, handle: str, wanted: str) -> str:
    """The cursor after the line `wanted`."""
    with anyio.fail_after(20):
        async for line in engine.logs(handle, after=""):
            if line.text == wanted:
                return line.cursor
    pytest.fail(f"the output ended without {wanted!r}")


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def ended(pid: int) -> None:
    await until(lambda: not keeper.born(pid), 20, what="another's child to end")


async def test_output_and_code_of_a_job(engine: ProcessEngine) -> None:
    handle = await begin(engine, job("echo out; echo err >&2; printf tail; exit 3"))
    assert await output(engine, handle) == ["out", "err", "tail"]
    assert await engine.wait(handle) == Exit(code=3)
    assert await engine.wait(handle) == Exit(code=3)


async def test_the_environment_is_the_jobs_and_nothing_of_ours(
    engine: ProcessEngine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PRELOOP_SECRET", "ours")
    handle = await begin(engine, job("env; tr '\\0' '\\n' < /proc/$PPID/environ", env={"GIVEN": "1"}))
    names = {line.partition("=")[0] for line in await output(engine, handle)}
    assert names - {"_", "SHLVL", "PWD", "OLDPWD", "LC_CTYPE"} == {"GIVEN", "PATH", "HOME"}


async def test_files_lie_in_the_jobs_folder(engine: ProcessEngine) -> None:
    handle = await begin(engine, job("cat deep/er/file; pwd", files={"deep/er/file": b"hello\n"}))
    hello, folder = await output(engine, handle)
    assert hello == "hello"
    assert folder.endswith("/jobs/job/workspace")


@pytest.mark.parametrize("path", ["../out", "/etc/out", "a/../../out", ""])
async def test_a_file_outside_the_jobs_folder_is_refused(engine: ProcessEngine, path: str) -> None:
    with pytest.raises(Invalid):
        await engine.prepare(job("true", files={path: b""}))


async def test_preparing_and_starting_twice_runs_once(engine: ProcessEngine) -> None:
    made = job("echo ran >> marks; cat marks", files={"marks": b""})
    await begin(engine, made)
    assert await begin(engine, made) == "job"
    assert await output(engine, "job") == ["ran"]
    assert await begin(engine, made) == "job"
    assert await engine.wait("job") == Exit(code=0)
    assert await output(engine, "job") == ["ran"]


async def test_many_starters_at_once_run_it_once(engine: ProcessEngine) -> None:
    made = job("echo ran")
    await engine.prepare(made)
    async with anyio.create_task_group() as group:
        for _ in range(6):
            group.start_soon(engine.start, made)
    assert await output(engine, "job") == ["ran"]


async def test_another_job_of_that_name_is_not_adopted(engine: ProcessEngine) -> None:
    await begin(engine, job("true"))
    with pytest.raises(Fault, match="Another job"):
        await engine.start(job("true", labels={"preloop.instance": "else"}))


async def test_starting_what_was_never_prepared_is_missing(engine: ProcessEngine) -> None:
    with pytest.raises(Missing):
        await engine.start(job("true"))


async def test_lines_come_while_the_job_runs_and_reading_goes_on_after_a_cursor(
    engine: ProcessEngine, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "gate")
    handle = await begin(engine, job(f"echo one; read go < {tmp_path}/gate; echo two; echo three"))
    cursor = await first(engine, handle, "one")
    (tmp_path / "gate").write_text("go\n")
    assert await output(engine, handle, cursor) == ["two", "three"]


async def test_a_fresh_engine_adopts_what_another_started(engine: ProcessEngine, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "gate")
    made = job(f"echo one; read go < {tmp_path}/gate; echo two; exit 4")
    await begin(engine, made)
    cursor = await first(engine, "job", "one")
    async with ProcessEngine(tmp_path / "jobs") as later:
        assert [found.running for found in await later.jobs("t")] == [True]
        assert await later.start(made) == "job"
        (tmp_path / "gate").write_text("go\n")
        assert await output(later, "job", cursor) == ["two"]
        assert await later.wait("job") == Exit(code=4)


STARTER = """
import sys
from pathlib import Path
import anyio
from runner.engine import Job
from runner.process import ProcessEngine
from tests.waiting import until
from tests.waiting import until

async def main():
    async with ProcessEngine(Path(sys.argv[1])) as engine:
        made = Job(name="job", image="", argv=("sh", "-c", sys.argv[2]), env={}, files={},
                   labels={"preloop.instance": "t", "preloop.execution": "exe_1"})
        await engine.prepare(made)
        await engine.start(made)
        print("started", flush=True)
        await anyio.sleep_forever()

anyio.run(main)
"""


async def test_a_job_outlives_the_killed_process_that_started_it(engine: ProcessEngine, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "gate")
    script = f"echo one; read go < {tmp_path}/gate; echo two; exit 5"
    command = [sys.executable, "-c", STARTER, str(tmp_path / "jobs"), script]
    async with await anyio.open_process(command, cwd=Path(__file__).parents[2], start_new_session=True) as starter:
        assert starter.stdout
        assert (await starter.stdout.receive()).startswith(b"started")
        os.killpg(starter.pid, signal.SIGKILL)
    assert starter.returncode == -signal.SIGKILL
    cursor = await first(engine, "job", "one")
    (tmp_path / "gate").write_text("go\n")
    assert await output(engine, "job", cursor) == ["two"]
    assert await engine.wait("job") == Exit(code=5)


async def test_a_job_whose_keeper_was_killed_is_gone_and_leaves_no_agent(engine: ProcessEngine) -> None:
    handle = await begin(engine, job("echo $$; exec sleep 600"))
    with anyio.fail_after(20):
        agent = int((await anext(engine.logs(handle, after=""))).text)
    os.kill(parent(agent), signal.SIGKILL)
    with anyio.fail_after(20):
        assert await engine.wait(handle) == Exit(gone=True)
        await ended(agent)
    assert len(await output(engine, handle)) == 1


async def test_a_job_nobody_knows_is_gone(engine: ProcessEngine) -> None:
    assert await engine.wait("never") == Exit(gone=True)
    assert await output(engine, "never") == []
    await engine.stop("never", grace_s=1)
    await engine.remove("never")


async def test_stop_lets_the_agent_say_goodbye(engine: ProcessEngine) -> None:
    handle = await begin(engine, job("trap 'echo bye; exit 9' TERM; echo ready; while :; do sleep 0.05; done"))
    await first(engine, handle, "ready")
    with anyio.fail_after(20):
        await engine.stop(handle, grace_s=10)
    assert await engine.wait(handle) == Exit(code=9)
    assert await output(engine, handle) == ["ready", "bye"]


async def test_stop_kills_what_ignores_it_and_all_it_started(engine: ProcessEngine) -> None:
    script = "trap '' TERM; setsid sleep 600 & echo $!; echo ready; while :; do sleep 0.05; done"
    handle = await begin(engine, job(script))
    await first(engine, handle, "ready")
    with anyio.fail_after(20):
        await engine.stop(handle, grace_s=0.1)
    assert await engine.wait(handle) == Exit(code=137)
    child = int((await output(engine, handle))[0])
    with anyio.fail_after(20):
        await ended(child)


async def test_what_the_agent_left_running_ends_with_it(engine: ProcessEngine) -> None:
    handle = await begin(engine, job("setsid sleep 600 & echo $!"))
    child = int((await output(engine, handle))[0])
    assert await engine.wait(handle) == Exit(code=0)
    assert keeper.born(child) == ""


async def test_removing_ends_it_and_forgets_it(engine: ProcessEngine, tmp_path: Path) -> None:
    handle = await begin(engine, job("sleep 600"))
    with anyio.fail_after(20):
        await engine.remove(handle)
    assert not (tmp_path / "jobs" / "job").exists()
    assert await engine.jobs("t") == ()
    await engine.remove(handle)


async def test_a_command_that_is_not_there_ends_with_127_and_a_reason(engine: ProcessEngine) -> None:
    handle = await begin(engine, job("", argv=("no-such-agent",)))
    assert await output(engine, handle) == ["preloop: could not start no-such-agent: No such file or directory"]
    assert await engine.wait(handle) == Exit(code=127)


async def test_only_jobs_of_the_instance_are_listed(engine: ProcessEngine) -> None:
    await begin(engine, job("true"))
    await begin(engine, job("true", name="other", labels={"preloop.instance": "u"}))
    await engine.wait("job")
    assert [(found.name, found.running) for found in await engine.jobs("t")] == [("job", False)]


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden"])
async def test_a_name_that_is_a_path_is_refused(engine: ProcessEngine, name: str) -> None:
    with pytest.raises(Invalid):
        await engine.stop(name, grace_s=0)


async def test_much_output_arrives_whole_and_in_order(engine: ProcessEngine) -> None:
    handle = await begin(engine, job("seq 1 200000"))
    assert await output(engine, handle) == [str(number) for number in range(1, 200001)]
