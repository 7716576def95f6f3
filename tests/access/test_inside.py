"""What init and the agent find: the entry script under a real shell, against the real doors, with curl and git that
know nothing of a control plane."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from runner.agents.script import AgentPlan, Brief, assemble
from tests.access.clients import run, standing
from tests.access.codehost import ALONE, CodeHost, code_host
from tests.access.plane import HOST, NAMES, UP, Plane, grants, plane
from tests.components import need_program

SHELLS = {"sh": ["sh"], "bash": ["bash", "--posix"], "busybox": ["busybox", "sh"]}


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> list[str]:
    need_program(SHELLS[request.param][0])
    return SHELLS[request.param]


def lay_out(folder: Path, files: Mapping[str, bytes]) -> None:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


async def inside(
    running: Plane, folder: Path, shell: list[str], *init: str, reach: Mapping[str, Any]
) -> tuple[int, str]:
    """Run the entry script of a session with this reach, with these init lines and an agent that says what it has."""
    _, running.waiting["once"] = await running.session(**reach)
    agent = "env | grep -c -e ^HTTPS_PROXY= -e ^GIT_CONFIG_COUNT=; git -C app pull -q && cat app/README"
    brief = Brief(
        execution_id="exe_1",
        model="default",
        prompt="",
        payload_json="{}",
        mcp_url=f"{running.url}/mcp/v1",
        gateway_url=running.url,
        control_url=running.url,
        init=init,
        egress=bool(reach.get("egress")),
        git_hosts=(HOST,) if reach.get("git") else (),
    )
    plan = AgentPlan(image="", argv=("sh", "-c", agent))
    job = assemble(plan, brief, name="job", instance="t", bootstrap_token="once")
    lay_out(folder, job.files)
    code, said, error = await run(*shell, ".preloop/entry.sh", env=ALONE | dict(job.env), cwd=folder)
    assert error == ""
    return code, said


@pytest.fixture
def host(tmp_path: Path) -> Iterator[CodeHost]:
    need_program("git")
    with code_host(tmp_path) as running:
        running.make("app")
        yield running


@pytest.mark.parametrize(
    "url", [f"https://{HOST}/owner/app", f"git@{HOST}:owner/app.git", f"ssh://git@{HOST}/owner/app"]
)
async def test_init_clones_and_the_agent_pulls_by_the_address_everybody_knows(
    tmp_path: Path, host: CodeHost, shell: list[str], url: str
) -> None:
    async with plane(tmp_path, hosts={HOST: host.settings()}) as running:
        clone, reach = f"git clone -q {url} app", {"git": grants(app=None)}
        code, said = await inside(running, tmp_path / "work", shell, clone, reach=reach)
    assert (code, said.splitlines()[-4:]) == (
        0,
        ["PRELOOP_AGENT_EXEC_START", "1", "app", "PRELOOP_AGENT_EXEC_END 0"],
    ), said


async def test_curl_finds_the_egress_door_and_what_is_near_stays_near(tmp_path: Path, shell: list[str]) -> None:
    need_program("curl")
    settings = {"private_hosts": [UP]}
    async with plane(tmp_path, settings=settings, names=NAMES) as running, standing() as upstream:
        lines = (
            f"curl -sS -m 5 -o /dev/null https://{UP}:{upstream.port}/ || echo far $?",
            "curl -sS -m 5 -o /dev/null -w '%{http_code}\\n' https://other.example/ || echo refused $?",
            f"curl -sS -m 5 -o /dev/null -w 'near %{{http_code}}\\n' {running.url}/nothing",
            f"curl -sS -m 5 -o /dev/null https://127.0.0.1:{upstream.port}/ || echo local $?",
            "exit 3",
        )
        code, said = await inside(
            running, tmp_path / "work", shell, *lines, reach={"egress": (f"{UP}:{upstream.port}",)}
        )
        assert upstream.heard.startswith(b"\x16\x03")  # TLS began
        assert upstream.dialled == 2  # through the door, and by the line that passes it by
    assert code == 3
    assert "near 404" in said
    assert "response 403" in said
    assert running.names.asked == [UP]


async def test_git_goes_through_the_egress_door_where_no_repository_is_listed(tmp_path: Path, shell: list[str]) -> None:
    settings = {"private_hosts": [UP]}
    async with plane(tmp_path, settings=settings, names=NAMES) as running, standing() as upstream:
        clone = f"git clone -q https://{UP}:{upstream.port}/owner/app app || exit 4"
        code, _ = await inside(running, tmp_path / "work", shell, clone, reach={"egress": (f"{UP}:{upstream.port}",)})
        assert (code, upstream.dialled) == (4, 1)
        assert upstream.heard.startswith(b"\x16\x03")


async def test_without_doors_there_are_no_variables(tmp_path: Path, shell: list[str]) -> None:
    async with plane(tmp_path) as running:
        line = "env | grep -i -e proxy -e GIT_CONFIG_COUNT -e GIT_CONFIG_KEY && exit 5; exit 6"
        code, said = await inside(running, tmp_path / "work", shell, line, reach={})
        assert code == 6, said
