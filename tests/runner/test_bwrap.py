"""Bubblewrap's engine with real sandboxes: what an agent sees, what it reaches, how it ends."""

import json
import os
import signal
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from kit.errors import Unsuitable
from preloop.listen import bind_unix
from runner.bwrap import SOCKET, BwrapEngine, _arguments
from runner.engine import Exit, Job
from tests.runner.outside import outside
from tests.runner.tries import REACH, addresses_of_this_host, serving

pytestmark = pytest.mark.bwrap
PORT = 8081
LABELS = {"preloop.instance": "t", "preloop.execution": "exe_1"}


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[BwrapEngine]:
    async with BwrapEngine(tmp_path / "runs", door=tmp_path / "door", port=PORT) as engine:
        yield engine
        with anyio.fail_after(60):
            for found in await engine.jobs("t"):
                await engine.remove(found.name)


def job(script: str, **fields: Any) -> Job:
    made = Job(name="job", image="", argv=("sh", "-c", script), env={}, files={}, labels=LABELS)
    return replace(made, **fields)


async def said(engine: BwrapEngine, made: Job) -> list[str]:
    await engine.prepare(made)
    handle = await engine.start(made)
    with anyio.fail_after(60):
        return [line.text async for line in engine.logs(handle, after="")]


async def tried(engine: BwrapEngine, wanted: dict[str, Any]) -> dict[str, Any]:
    argv = ("python3", "reach.py", json.dumps(wanted))
    lines = await said(engine, job("", argv=argv, files={"reach.py": REACH.read_bytes()}))
    return dict(json.loads(lines[-1]))


async def test_it_works_in_its_own_folder_as_nobody_in_particular(engine: BwrapEngine) -> None:
    script = "id -u; whoami; pwd; cat given; grep -h -e CapEff -e CapBnd -e NoNewPrivs /proc/self/status; ulimit -n"
    lines = await said(engine, job(script, files={"given": b"for the agent\n"}))
    assert lines == [
        *("1000", "agent", "/workspace", "for the agent"),
        *("CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "4096"),
    ]


WALK = """
import os
open_ = []
for at, _, files in os.walk("/proc/sys"):
    for name in files:
        try:
            os.close(os.open(f"{at}/{name}", os.O_WRONLY))
            open_.append(f"{at}/{name}")
        except OSError:
            pass
print(open_)
try:
    os.unshare(os.CLONE_NEWUSER)
    print("a namespace of users")
except (AttributeError, OSError):
    print("none")
"""


async def test_no_setting_of_this_machine_can_be_written(engine: BwrapEngine) -> None:
    """The agent of a plane that runs as root is root to the kernel's settings, without a single capability."""
    lines = await said(engine, job("", argv=("python3", "walk.py"), files={"walk.py": WALK.encode()}))
    assert lines == ["[]", "none"]
    lines = await said(engine, job("unshare -U true 2>/dev/null && echo made || echo none", name="another"))
    assert lines == ["none"]


async def test_a_process_and_the_scratch_folders_have_limits(engine: BwrapEngine) -> None:
    eat = 'python3 -c "bytearray({})" 2>&1 | tail -n 1'
    fill = "head -c {} /dev/zero >{}/x && echo whole; rm -f {}/x"
    fills = [fill.format(size, at, at) for at in ("/tmp", "~") for size in (1 << 20, 300 << 20)]
    script = "; ".join((eat.format(96 << 20), eat.format(400 << 20), *(f"({one}) 2>/dev/null" for one in fills)))
    lines = await said(engine, job(f"({script}); ulimit -c", memory_bytes=256 << 20))
    assert lines == ["MemoryError", "whole", "whole", "0"]


async def test_nothing_of_this_machine_but_its_programs_can_be_read_or_written(
    engine: BwrapEngine, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("not for agents")
    mine = os.getpid()
    tries = [
        *(f"cat {path} && echo read" for path in (secret, "/etc/shadow", f"/proc/{mine}/environ")),
        *(f"touch {path} && echo written" for path in ("/x", "/usr/x", "/etc/x", "/run/preloop/x", "/proc/sys/x")),
        "ls /home /run; ls /proc | grep -c '^[0-9]'; touch /tmp/x ~/x x && echo own",
    ]
    lines = await said(engine, job("; ".join(f"({one}) 2>/dev/null" for one in tries)))
    assert "read" not in lines and "written" not in lines
    assert lines[-1] == "own"
    assert int(lines[-2]) < 8  # its own processes and nobody else's
    assert lines[:-2] == ["/home:", "agent", "", "/run:", "preloop"]


async def test_it_may_check_certificates_and_sees_no_folder_of_keys(engine: BwrapEngine) -> None:
    """On every distribution's place for them; a plane that runs as root could read them all."""
    trusted = "import ssl; print(len(ssl.create_default_context().get_ca_certs()))"
    keys = "ls -d /etc/ssl/private /etc/pki/tls/private /etc/pki/CA /etc/letsencrypt 2>/dev/null | wc -l"
    dangling = "find -L /etc/ssl/certs -type l | wc -l"
    lines = await said(engine, job(f'{keys}; {dangling}; python3 -c "{trusted}"'))
    here = len(ssl.create_default_context().get_ca_certs())
    assert here
    assert lines == ["0", await output("sh", "-c", dangling), str(here)]


async def output(*command: str) -> str:
    return (await anyio.run_process(command)).stdout.decode().strip()


def test_no_folder_that_is_bound_holds_private_keys(tmp_path: Path) -> None:
    """Also none of a distribution that this is not."""
    words = list(_arguments(tmp_path, tmp_path, tmp_path, ()))
    bound = {Path(to) for how, _, to in zip(words, words[1:], words[2:], strict=False) if how.startswith("--ro-bind")}
    assert Path("/etc/ssl/certs") in bound
    for keys in map(Path, ("/etc/ssl/private", "/etc/pki/tls/private", "/etc/pki/CA/private", "/etc/pki/nssdb")):
        assert not [folder for folder in bound if keys.is_relative_to(folder)]


@pytest.mark.netns
async def test_it_reaches_the_door_and_nothing_else(engine: BwrapEngine, tmp_path: Path) -> None:
    """The same tries from this machine get through: none fails for another reason."""
    with outside() as other, serving("::") as port:
        tcp = [[address, port] for address in addresses_of_this_host() if "%" not in address]
        tcp += [[address, open_] for address in other.addresses for open_ in other.ports]
        wanted = {"tcp": tcp, "names": [], "ask": [[a, "leak.example"] for a, _ in tcp]}
        with bind_unix(tmp_path / "door" / SOCKET):
            got = await tried(engine, wanted | {"ports_of": ["127.0.0.1", 1, 65535]})
        assert (got["tcp"], other.came) == ([], [])
        assert PORT in got["ports"]
        reached = await anyio.run_process(["python3", str(REACH), json.dumps({"tcp": tcp, "names": []})])
        assert json.loads(reached.stdout)["tcp"] == tcp


async def test_a_connection_is_held_until_somebody_answers_at_the_door(engine: BwrapEngine, tmp_path: Path) -> None:
    """As while a plane starts again: its socket is a new one then."""
    ask = f"import socket; s = socket.create_connection(('127.0.0.1', {PORT})); s.sendall(b'hello'); print(s.recv(9))"
    made = job("", argv=("python3", "-c", ask))
    await engine.prepare(made)
    handle = await engine.start(made)
    with anyio.fail_after(60), bind_unix(tmp_path / "door" / SOCKET) as sock:
        sock.setblocking(True)
        client, _ = await anyio.to_thread.run_sync(sock.accept)
        with client:
            client.setblocking(True)
            assert await anyio.to_thread.run_sync(client.recv, 5) == b"hello"
            client.sendall(b"plane")
        assert [line.text async for line in engine.logs(handle, after="")] == ["b'plane'"]


async def test_term_reaches_the_agent_and_its_code_is_told(engine: BwrapEngine) -> None:
    made = job("trap 'echo told; exit 9' TERM; echo up; while :; do sleep 0.1; done")
    await engine.prepare(made)
    handle = await engine.start(made)
    with anyio.fail_after(60):
        async for line in engine.logs(handle, after=""):
            if line.text == "up":
                await engine.stop(handle, grace_s=30)
        assert await engine.wait(handle) == Exit(code=9)


async def test_with_its_keeper_everything_of_a_sandbox_ends(engine: BwrapEngine, tmp_path: Path) -> None:
    made = job("sleep 1000 & setsid sleep 1000 & echo up; wait")
    await engine.prepare(made)
    handle = await engine.start(made)
    with anyio.fail_after(60):
        async for line in engine.logs(handle, after=""):
            if line.text == "up":
                os.kill(json.loads((tmp_path / "runs" / "job" / "keeper.json").read_text())["pid"], signal.SIGKILL)
        assert await engine.wait(handle) == Exit(gone=True)


async def test_a_machine_without_bubblewrap_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unsuitable) as refused:
        await BwrapEngine(tmp_path / "runs", door=tmp_path / "door", port=PORT).open()
    assert (refused.value.code, "apt install bubblewrap" in refused.value.hint) == ("bwrap_missing", True)


async def test_a_bubblewrap_that_makes_no_sandbox_is_told_with_its_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2; exit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(Unsuitable, match="setting up uid map: Permission denied"):
        await BwrapEngine(tmp_path / "runs", door=tmp_path / "door", port=PORT).open()
