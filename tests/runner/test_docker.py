"""The Docker engine, with a real one."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.abc
import pytest

from kit.errors import Conflict, Missing, Unavailable, Unsuitable
from runner.docker import DockerEngine
from runner.engine import Exit
from runner.tar import Kind
from tests.runner.containers import begin, docker, first, job, output
from tests.runner.test_tar import read

pytestmark = pytest.mark.docker


async def test_output_code_and_files_of_a_job(engine: DockerEngine, instance: str) -> None:
    made = job(instance, "cat a/b; echo err >&2; printf tail; exit 3", files={"a/b": b"hello\n"})
    handle = await begin(engine, made)
    assert await engine.wait(handle) == Exit(code=3)
    assert sorted(await output(engine, handle)) == ["err", "hello", "tail"]
    assert await engine.wait(handle) == Exit(code=3)


async def test_the_container_may_do_very_little(engine: DockerEngine, instance: str) -> None:
    script = """
id -u; id -g; pwd; echo $HOME
grep -E '^(CapBnd|NoNewPrivs|Seccomp):' /proc/self/status | tr -d '\\t'
touch /etc/x 2>&1; touch here && echo work; touch ~/x && echo home; touch /tmp/x && echo tmp
ulimit -n; ulimit -c; cat /proc/1/comm
"""
    handle = await begin(engine, job(instance, script))
    assert await output(engine, handle) == [
        *("1000", "1000", "/workspace", "/home/agent"),
        *("CapBnd:0000000000000000", "NoNewPrivs:1", "Seccomp:2"),
        "touch: /etc/x: Read-only file system",
        *("work", "home", "tmp", "4096", "0", "docker-init"),
    ]


async def test_limits_are_set_and_nothing_is_removed_by_the_engine(engine: DockerEngine, instance: str) -> None:
    handle = await begin(engine, job(instance, "true", cpus=0.5, pids=77))
    config = json.loads(await docker("inspect", handle))[0]
    host = config["HostConfig"]
    assert (host["Memory"], host["MemorySwap"], host["NanoCpus"], host["PidsLimit"]) == (
        64 << 20,
        64 << 20,
        5 * 10**8,
        77,
    )
    assert (host["AutoRemove"], host["LogConfig"]["Type"], host["RestartPolicy"]["Name"]) == (False, "json-file", "no")


async def test_more_memory_than_allowed_is_told(engine: DockerEngine, instance: str) -> None:
    handle = await begin(engine, job(instance, "exec tail /dev/zero"))
    with anyio.fail_after(60):
        assert await engine.wait(handle) == Exit(code=137, oom_killed=True)


async def test_starting_twice_runs_once_and_an_ended_job_is_adopted_as_it_is(
    engine: DockerEngine, instance: str
) -> None:
    made = job(instance, "echo ran >> marks; cat marks")
    await begin(engine, made)
    await begin(engine, made)
    assert await engine.wait(made.name) == Exit(code=0)
    await begin(engine, made)
    assert await output(engine, made.name) == ["ran"]


async def test_many_starters_at_once_run_it_once(engine: DockerEngine, instance: str) -> None:
    made = job(instance, "echo ran")
    async with anyio.create_task_group() as group:
        for _ in range(6):
            group.start_soon(begin, engine, made)
    assert await output(engine, made.name) == ["ran"]


async def test_a_container_whose_maker_died_before_the_start_is_started(engine: DockerEngine, instance: str) -> None:
    made = job(instance, "cat file", files={"file": b"hello\n"})
    await engine.prepare(made)
    labels = [word for name, value in made.labels.items() for word in ("--label", f"{name}={value}")]
    mount = f"type=volume,source={made.name},target=/workspace"
    await docker("create", "--name", made.name, "-w", "/workspace", "--mount", mount, *labels, made.image, *made.argv)
    async with DockerEngine(forsaken_s=0.5) as heir:
        assert await heir.start(made) == made.name
    assert await output(engine, made.name) == ["hello"]


async def test_another_job_of_that_name_is_not_adopted(engine: DockerEngine, instance: str) -> None:
    made = job(instance, "true")
    await begin(engine, made)
    with pytest.raises(Conflict, match=r"Another (container|network) is called"):
        await engine.start(replace(made, labels={**made.labels, "preloop.execution": "exe_2"}))


async def test_a_fresh_engine_adopts_and_reads_on_without_gap_or_double(engine: DockerEngine, instance: str) -> None:
    script = "for i in $(seq 1 300); do echo $i; done; until [ -e go ]; do sleep 0.05; done; seq 301 600; exit 4"
    made = job(instance, script)
    await begin(engine, made)
    cursor = await first(engine, made.name, "217")
    async with DockerEngine() as later:
        assert [found.running for found in await later.jobs(instance)] == [True]
        assert await begin(later, made) == made.name
        await docker("exec", made.name, "touch", "go")
        assert await output(later, made.name, cursor) == [str(number) for number in range(218, 601)]
        assert await later.wait(made.name) == Exit(code=4)


async def test_much_output_arrives_whole_and_long_lines_in_pieces(engine: DockerEngine, instance: str) -> None:
    script = "seq 1 50000; head -c 200000 /dev/zero | tr '\\0' x; echo; printf 'a\\000\\377b'"
    handle = await begin(engine, job(instance, script))
    lines = await output(engine, handle)
    assert lines[:50000] == [str(number) for number in range(1, 50001)]
    assert sum(line.count("x") for line in lines[50000:-1]) == 200000
    assert max(map(len, lines)) < 70000
    assert lines[-1] == "a��b"


async def test_stop_lets_the_agent_say_goodbye(engine: DockerEngine, instance: str) -> None:
    handle = await begin(
        engine, job(instance, "trap 'echo bye; exit 9' TERM; echo ready; while :; do sleep 0.05; done")
    )
    await first(engine, handle, "ready")
    await engine.stop(handle, grace_s=10)
    assert await engine.wait(handle) == Exit(code=9)
    assert await output(engine, handle) == ["ready", "bye"]
    await engine.stop(handle, grace_s=1)


async def test_stop_kills_what_ignores_it(engine: DockerEngine, instance: str) -> None:
    handle = await begin(engine, job(instance, "trap '' TERM; echo ready; while :; do sleep 0.05; done"))
    await first(engine, handle, "ready")
    with anyio.fail_after(30):
        await engine.stop(handle, grace_s=0.1)
    assert await engine.wait(handle) == Exit(code=137)


async def test_what_nobody_knows_is_gone(engine: DockerEngine, instance: str) -> None:
    name = f"preloop-{instance}"
    assert await engine.wait(name) == Exit(gone=True)
    assert await output(engine, name) == []
    await engine.stop(name, grace_s=1)
    await engine.remove(name)


async def test_a_job_removed_behind_our_back_ends_every_wait(engine: DockerEngine, instance: str) -> None:
    handle = await begin(engine, job(instance, "echo ready; exec sleep 600"))
    await first(engine, handle, "ready")
    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            group.start_soon(engine.wait, handle)
            group.start_soon(output, engine, handle)
            await docker("rm", "-f", handle)
    assert await engine.wait(handle) == Exit(gone=True)


async def test_a_prepared_job_is_listed_though_it_never_started(engine: DockerEngine, instance: str) -> None:
    made = job(instance, "true")
    await engine.prepare(made)
    assert [(found.name, found.running) for found in await engine.jobs(instance)] == [(made.name, False)]


async def test_a_missing_image_says_how_to_build_it(engine: DockerEngine, instance: str) -> None:
    made = job(instance, "true", image="preloop/nothing")
    with pytest.raises(Missing) as refused:
        await begin(engine, made)
    assert (refused.value.code, refused.value.hint) == ("image_missing", "Build it: preloop images build nothing")
    with pytest.raises(Missing) as refused:
        await begin(engine, job(instance, "true", image="example.com/team/aider:0.86", name="another"))
    assert refused.value.hint == "Fetch it: docker pull example.com/team/aider:0.86"


async def test_no_engine_at_that_address_is_one_clear_sentence(tmp_path: Path) -> None:
    with pytest.raises(Unsuitable, match="No Docker Engine answers") as refused:
        await DockerEngine(f"unix://{tmp_path}/docker.sock").open()
    assert refused.value.code == "docker_unreachable"


async def test_an_engine_that_falls_silent_is_unavailable(tmp_path: Path, box: str, instance: str) -> None:
    made = job(instance, "echo ready; exec sleep 600")
    with anyio.fail_after(60):
        async with relay(tmp_path / "docker.sock") as cut, DockerEngine(f"unix://{tmp_path}/docker.sock") as engine:
            await begin(engine, made)
            await first(engine, made.name, "ready")
            lines = engine.logs(made.name, after="")
            await anext(lines)
            cut()
            for asked in (
                anext(lines),
                engine.wait(made.name),
                engine.prepare(made),
                engine.stop(made.name, grace_s=0),
            ):
                with pytest.raises(Unavailable) as silent:
                    await asked
                assert silent.value.code == "engine_unreachable"
        async with DockerEngine() as engine:
            await engine.remove(made.name)


@asynccontextmanager
async def relay(path: Path) -> AsyncIterator[Callable[[], None]]:
    """Stands between us and the engine; when it is cut, the engine is as dead as a stopped one."""
    open_writers: list[asyncio.StreamWriter] = []

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_unix_connection("/var/run/docker.sock")
        open_writers.extend((writer, upstream_writer))
        await asyncio.gather(pump(reader, upstream_writer), pump(upstream_reader, writer))

    def cut() -> None:
        server.close()
        for writer in open_writers:
            writer.transport.abort()

    server = await asyncio.start_unix_server(carry, path)
    try:
        yield cut
    finally:
        cut()


async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await source.read(1 << 16):
            target.write(chunk)
            await target.drain()
        target.close()


async def test_what_a_job_left_is_told_while_it_runs_and_after(engine: DockerEngine, instance: str) -> None:
    script = "mkdir artifacts; echo one > artifacts/a; ln -s /etc/passwd artifacts/link; "
    script += "trap 'exit 2' TERM; echo made; sleep 100 & wait"
    handle = await begin(engine, job(instance, script))
    await first(engine, handle, "made")
    expected = [
        ("artifacts", Kind.FOLDER, b""),
        ("artifacts/a", Kind.FILE, b"one\n"),
        ("artifacts/link", Kind.OTHER, b""),
    ]
    assert sorted(read(await archived(engine, handle, "artifacts"))) == expected
    await engine.stop(handle, grace_s=30)
    assert await engine.wait(handle) == Exit(code=2)
    assert sorted(read(await archived(engine, handle, "artifacts"))) == expected
    assert read(await archived(engine, handle, "artifacts/a")) == [("a", Kind.FILE, b"one\n")]
    assert await archived(engine, handle, "absent") == b""
    await engine.remove(handle)
    assert await archived(engine, handle, "artifacts") == b""


async def archived(engine: DockerEngine, handle: str, path: str) -> bytes:
    with anyio.fail_after(30):
        return b"".join([piece async for piece in engine.archive(handle, path)])


async def test_output_that_was_rotated_away_before_it_was_read_is_told(engine: DockerEngine, instance: str) -> None:
    made = job(instance, "echo 0; while [ ! -e go ]; do :; done; seq 200000")
    numbers, told = [], []
    async with DockerEngine(log_max_bytes=3_000_000) as small:
        await begin(small, made)
        with anyio.fail_after(60):
            async for line in small.logs(made.name, after=""):
                if line.ours:
                    told.append(line.text)
                    continue
                numbers.append(int(line.text))
                if numbers == [0]:
                    await docker("exec", made.name, "touch", "/workspace/go")
                    await small.wait(made.name)
    assert (numbers[0], numbers[-1]) == (0, 200000)
    assert len(numbers) < 200001
    assert [text for text in told if "may be lost" in text]
