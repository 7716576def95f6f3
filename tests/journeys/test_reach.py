"""A container that clones, pushes and connects through the control plane, and in no other way."""

import json
from pathlib import Path

import pytest

from preloop.demo import decide
from tests.access.clients import standing
from tests.access.codehost import TOKEN, code_host
from tests.components import need_program
from tests.journeys.plane import FLOW, plane

pytestmark = [pytest.mark.docker, pytest.mark.usefixtures("agent_images")]

MORE = """
[egress]
private_hosts = ["localhost"]

[git."code.example"]
url = "{url}"
private = true
token_env = "CODE_HOST_TOKEN"
"""
WHO = "-c user.name=agent -c user.email=agent@example.com"


async def test_a_container_reaches_what_its_flow_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_program("git")
    monkeypatch.setenv("CODE_HOST_TOKEN", TOKEN)
    with code_host(tmp_path) as host:
        host.make("app")
        more = MORE.format(url=host.url)
        async with standing() as upstream, plane(tmp_path, engine="docker", more=more) as (running, _):
            ask = "curl -sS -k -m 10 --noproxy '' -o /dev/null -w '%{http_connect}\\n'"
            init = [
                "git clone -q https://code.example/owner/app .",
                f"echo more >>README && git {WHO} commit -q -a -m more",
                "git push -q origin HEAD:preloop/fix",
                "git push -q origin HEAD:main || echo main is refused",
                f"{ask} https://localhost:{upstream.port}/ || true",
                f"{ask} https://localhost:{upstream.port + 1}/ || true",
                "env | grep -c CODE_HOST || true",
            ]
            reach = {"egress": [f"localhost:{upstream.port}"], "init": init}
            reach["git"] = [{"host": "code.example", "repo": "owner/app", "push": "preloop/*"}]  # type: ignore[list-item]
            source = FLOW.read_text() + "".join(f"{key}: {json.dumps(value)}\n" for key, value in reach.items())
            await running.apply(source)
            execution_id = await running.trigger()
            await running.waiting(execution_id)
            log = [line["text"] for line in (await running.get(f"/executions/{execution_id}/logs"))["items"]]
            events = (await running.get(f"/executions/{execution_id}/events"))["items"]
            await decide(await running.link(), "approved")
            assert (await running.ended(execution_id))["state"] == "SUCCEEDED"
        refs = host.refs("app")
    assert "refs/heads/preloop/fix" in refs and refs["refs/heads/preloop/fix"] != refs["refs/heads/main"]
    assert "main is refused" in log and any("This flow pushes to branches preloop/*" in line for line in log)
    assert [line for line in log if line in ("200", "403", "0")] == ["200", "403", "0"]
    assert upstream.dialled == 1
    told = {event["type"] for event in events}
    assert {"git.pushing", "git.answered", "git.refused", "egress.opened", "egress.refused"} <= told
    assert not any(TOKEN in json.dumps(part) for part in (log, events))
