"""The command line as somebody meets it who is tired: what is wrong, what to do, and the exit code for scripts."""

import json
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from typer.main import get_command

from control.identity.principals import Role
from preloop.cli import app
from tests.browser.scene import set_scene
from tests.preloop.terminal import Desk, Done, Terminal
from tests.serving import serving
from tests.web.world import FLOW


def told(done: Done) -> tuple[int, str]:
    """The code and the first word on it; there is a hint, nothing on stdout, and no traceback."""
    assert done.out == ""
    error, hint = done.err.splitlines()[0], done.err.splitlines()[-1]
    assert error.startswith("Error: ")
    assert hint.startswith("Hint:  ")
    assert "Traceback" not in done.err
    return done.code, error.removeprefix("Error: ")


async def test_no_plane_is_exit_4_and_says_how_to_start_one(tmp_path: Path) -> None:
    terminal = Terminal(folder=tmp_path)
    assert told(await terminal.run("executions", "list"))[0] == 4
    as_json = await terminal.run("executions", "list", "--json")
    assert (as_json.code, as_json.json["code"], as_json.err) == (4, "plane_not_found", "")


@pytest.mark.parametrize(
    "left", ["oops", "[]", '{"url": "http://127.0.0.1:1"}', '{"url": "http://127.0.0.1:1", "token": "x"}']
)
async def test_what_a_dead_plane_left_is_exit_4(tmp_path: Path, left: str) -> None:
    (tmp_path / "plane.json").write_text(left)
    assert told(await Terminal(folder=tmp_path).at(data=str(tmp_path)).run("executions", "list"))[0] == 4


@pytest.mark.parametrize(
    ("token", "code"),
    [("", 3), ("wrong", 3), ("wröng", 3), ("two\nlines", 3)],
)
async def test_a_token_that_is_none_is_exit_3(desk: Desk, token: str, code: int) -> None:
    done = await desk.admin.at(token=token).run("executions", "list")
    assert told(done)[0] == code
    assert "preloop tokens create" in done.err


@pytest.mark.parametrize(("url", "code"), [("localhost:8080", 2), ("ftp://localhost", 2), ("http://127.0.0.1:1", 4)])
async def test_an_address_that_leads_nowhere_is_named(tmp_path: Path, url: str, code: int) -> None:
    done = told(await Terminal(folder=tmp_path).at(url=url, token="x").run("flows", "list"))
    assert (done[0], url in done[1]) == (code, True)


async def test_a_server_that_is_no_plane_is_told_from_one(tmp_path: Path) -> None:
    async def hello(_: object) -> PlainTextResponse:
        return PlainTextResponse("hello")

    async with serving(Starlette(routes=[Route("/{path:path}", hello)])) as url:
        code, error = told(await Terminal(folder=tmp_path).at(url=url, token="x").run("flows", "list"))
    assert (code, error) == (4, f"{url} answers 200, and not as a control plane does.")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("executions", "show", "exe_"), 2, "no execution exe_"),
        (("executions", "show", ""), 2, "is empty"),
        (("executions", "cancel", "../flows"), 2, "nothing at this address"),
        (("executions", "list", "--state", "done"), 2, "no state"),
        (("executions", "logs", "nope", "-f"), 2, "no execution nope"),
        (("approvals", "approve", "nope"), 2, "no approval nope"),
        (("flows", "show", "nope"), 2, "no flow 'nope'"),
        (("flows", "apply", "nope.yaml"), 2, "nope.yaml can't be read: No such file"),
        (("flows", "apply", "."), 2, ". can't be read: Is a directory"),
        (("flows", "render", "process-payment", "--payload", "x"), 2, "x can't be read"),
        (("run", "nope"), 2, "no flow 'nope'"),
        (("run", "process-payment", "--payload", "nope.json"), 2, "nope.json can't be read"),
        (("policy", "explain", "f", "--server", "s", "--tool", "t", "--args", "{"), 2, "--args: That is not JSON"),
        (("policy", "explain", "f", "--server", "s", "--tool", "t", "--args", "[]"), 2, "no JSON object"),
        (("spend", "--since", "400d"), 2, "since='400d'"),
        (("spend", "--by", "colour"), 2, "'colour'"),
        (("users", "add", "a@b.c", "--role", "king"), 2, "role:"),
        (("tokens", "revoke", "nope"), 2, "no token nope"),
        (("sessions", "revoke", "nope"), 2, "no session nope"),
        (("approvals", "approve"), 2, "Missing argument 'ID'"),
        (("executions", "nonsense"), 2, "No such command 'nonsense'"),
    ],
)
async def test_each_mistake_has_a_sentence_a_hint_and_its_code(
    quiet_desk: Desk, words: tuple[str, ...], code: int, says: str
) -> None:
    found = told(await quiet_desk.admin.run(*words))
    assert (found[0], says in found[1]) == (code, True), found


async def test_a_payload_that_is_no_json_is_named_with_its_file(desk: Desk) -> None:
    (desk.admin.folder / "bad.json").write_text('{"amount": 1,}')
    by_file = told(await desk.admin.run("run", "process-payment", "--payload", "bad.json"))
    by_pipe = told(await desk.admin.run("run", "process-payment", "--payload", "-", stdin=b"\xff"))
    assert (by_file[0], by_file[1].split(":")[0]) == (2, "bad.json")
    assert by_pipe == (2, "- is not UTF-8.")


async def test_of_several_flow_files_the_wrong_one_is_named_and_none_is_saved(desk: Desk) -> None:
    (desk.admin.folder / "good.yaml").write_text(FLOW.replace("process-payment", "good"))
    (desk.admin.folder / "slash.yaml").write_text(FLOW.replace("process-payment", "a/b"))
    done = await desk.admin.run("flows", "apply", "good.yaml", "slash.yaml")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("Error: slash.yaml: ")
    assert (await desk.admin.run("flows", "show", "good")).code == 2


async def test_what_a_role_may_not_is_exit_3(desk: Desk) -> None:
    code, error = told(await (await desk.of(Role.VIEWER)).run("run", "process-payment"))
    assert (code, error) == (3, "This needs the role operator; you are viewer.")


async def test_json_is_one_value_on_stdout_also_for_what_is_wrong(desk: Desk) -> None:
    for words in (("executions", "show", "nope"), ("approvals", "decline", "nope"), ("nonsense",)):
        done = await desk.admin.run(*words, "--json")
        assert (done.code, done.err) == (2, "")
        assert set(done.json) == {"code", "detail", "hint"}


async def test_a_log_that_is_followed_as_json_is_a_line_each(desk: Desk) -> None:
    scene = await set_scene(desk.world)
    run = scene.runs["FAILED"]
    whole = await desk.admin.run("executions", "logs", run, "--json")
    done = await desk.admin.run("executions", "logs", run, "-f", "--json")
    assert done.code == 1
    assert [json.loads(line) for line in done.out.splitlines()] == whole.json
    assert done.err.startswith("FAILED after ")


def test_every_command_and_each_of_its_words_is_explained() -> None:
    silent: list[tuple[str, ...]] = []
    queue: list[tuple[tuple[str, ...], Any]] = [((), get_command(app))]
    while queue:
        path, command = queue.pop()
        queue += [((*path, name), inner) for name, inner in getattr(command, "commands", {}).items()]
        if not command.hidden:
            silent += [(*path, str(p.name)) for p in command.params if not getattr(p, "help", None)]
            silent += [path] if not command.help else []
    assert silent == []
