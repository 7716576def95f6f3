"""`preloop flows`: files in and out, what an apply will change, older versions, and prompts with an event in them."""

import json
from pathlib import Path

import pytest

from control.flows import source
from tests.preloop.terminal import Desk
from tests.web.world import FLOW

NEWER = FLOW.replace("Pay a contractor's invoice", "'Pay an invoice :warning: [red]now[/red]'")


def write(desk: Desk, name: str, text: str) -> str:
    (desk.admin.folder / name).write_text(text)
    return name


async def version(desk: Desk) -> int:
    return int((await desk.admin.run("flows", "show", "process-payment", "--json")).json["version"])


async def test_an_apply_shows_what_it_changes_and_a_dry_run_only_shows_it(desk: Desk) -> None:
    file = write(desk, "x.yaml", NEWER)
    would = await desk.admin.run("flows", "apply", file, "--dry-run")
    assert (would.code, await version(desk)) == (0, 1)
    assert "-description: Pay a contractor's invoice\n" in would.out
    assert "+description: 'Pay an invoice :warning: [red]now[/red]'\n" in would.out
    assert would.out.endswith("process-payment would be version 2\n")
    done = await desk.admin.run("flows", "apply", file)
    assert done.out == would.out.replace("would be", "is now")
    again = await desk.admin.run("flows", "apply", file)
    assert (again.code, again.out, await version(desk)) == (0, "process-payment is unchanged at version 2\n", 2)


async def test_a_new_flow_is_shown_whole(desk: Desk) -> None:
    file = write(desk, "x.yaml", FLOW.replace("process-payment", "other"))
    done = await desk.admin.run("flows", "apply", file)
    assert done.out.startswith("--- nothing\n+++ other version 1\n")
    assert "+name: other\n" in done.out


async def test_warnings_are_on_stderr_and_in_the_json(desk: Desk) -> None:
    await desk.world.house.start()
    file = write(desk, "x.yaml", FLOW.replace("payload.amount", "payload.amuont"))
    told = await desk.admin.run("flows", "apply", file, "--json")
    [applied] = told.json
    assert (applied["changed"], applied["dry_run"], len(applied["warnings"])) == (True, False, 1)
    assert f"Warning: x.yaml: {applied['warnings'][0]}" in told.err
    assert "payload has `amount`" in told.err


async def test_a_file_that_is_wrong_is_named_and_none_of_them_is_saved(desk: Desk) -> None:
    good, bad = write(desk, "good.yaml", NEWER), write(desk, "bad.toml", 'version = 1\nname = "x"\n\nagnet = 1\n')
    refused = await desk.admin.run("flows", "apply", good, bad)
    assert (refused.code, refused.out, await version(desk)) == (2, "", 1)
    assert "bad.toml: line 4, agnet: an unknown key; is `agent` meant?" in refused.err


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yaml", "["),
        ("a.yaml", "[" * 50_000),
        ("a.toml", "x = ["),
        ("a.yaml", ""),
        ("a.yaml", "name: 'a/b'"),
        ("a.toml", "name = 1"),
    ],
)
async def test_what_is_no_flow_file_is_a_usage_error(desk: Desk, name: str, text: str) -> None:
    refused = await desk.admin.run("flows", "apply", write(desk, name, text), "--json")
    assert (refused.code, refused.json["code"]) == (2, "flow_invalid")
    assert refused.json["detail"].startswith(f"{name}: ")


@pytest.mark.parametrize(("flag", "name"), [((), "x.yaml"), (("--toml",), "x.toml")])
async def test_an_export_is_a_file_that_apply_takes(desk: Desk, flag: tuple[str, ...], name: str) -> None:
    await desk.admin.run("flows", "apply", write(desk, "new.yaml", NEWER))
    exported = await desk.admin.run("flows", "export", "process-payment", *flag)
    syntax = "toml" if flag else "yaml"
    assert source.read(exported.out, syntax).body == source.read(NEWER).body  # type: ignore[arg-type]
    assert ":warning: [red]now[/red]" in exported.out
    applied = await desk.admin.run("flows", "apply", write(desk, name, exported.out), "--json")
    assert (applied.json[0]["changed"], await version(desk)) == (False, 2)


async def test_older_versions_are_listed_shown_and_exported(desk: Desk) -> None:
    await desk.admin.run("flows", "apply", write(desk, "new.yaml", NEWER))
    listed = await desk.admin.run("flows", "versions", "process-payment", "--json")
    assert [one["version"] for one in listed.json] == [2, 1]
    old = await desk.admin.run("flows", "show", "process-payment", "--version", "1", "--json")
    assert (old.json["version"], old.json["description"]) == (1, "Pay a contractor's invoice")
    file = await desk.admin.run("flows", "export", "process-payment", "--version", "1", "--toml")
    assert 'description = "Pay a contractor\'s invoice"\n' in file.out
    body = await desk.admin.run("flows", "export", "process-payment", "--version", "1", "--json")
    assert body.json["description"] == "Pay a contractor's invoice"
    for words in (("show", "--version", "9"), ("export", "--version", "9")):
        missing = await desk.admin.run("flows", words[0], "process-payment", *words[1:])
        assert (missing.code, "has no version 9" in missing.err) == (2, True)
    both = await desk.admin.run("flows", "export", "process-payment", "--toml", "--json")
    assert (both.code, both.json["code"]) == (2, "usage")


async def test_a_prompt_is_rendered_with_a_file_or_a_past_event(desk: Desk) -> None:
    payload = write(desk, "p.json", json.dumps({"amount": 5, "payee": "\x1b[31mred\x1b[0m :smile:"}))
    given = await desk.admin.run("flows", "render", "process-payment", "--payload", payload)
    assert (given.code, given.out) == (0, "Use the pay tool to send 5 USD to undefined.\n\n")
    assert "Warning: the event has no trigger_event.payload.recipient; payload has " in given.err
    nothing = await desk.admin.run("flows", "render", "process-payment")
    assert (nothing.code, "has no event yet" in nothing.err) == (2, True)
    run = await desk.world.house.start()
    for words in ((), ("--execution", run)):
        past = await desk.admin.run("flows", "render", "process-payment", *words)
        assert (past.code, past.err) == (0, "")
        assert past.out.startswith("Use the pay tool to send 1500 USD to contractor@example.com.\n")
    told = await desk.admin.run("flows", "render", "process-payment", "--execution", run, "--json")
    assert (told.json["execution_id"], told.json["unresolved"]) == (run, [])
    both = await desk.admin.run("flows", "render", "process-payment", "--execution", run, "--payload", payload)
    assert (both.code, "Give one of them" in both.err) == (2, True)


async def test_an_event_that_the_flow_refuses_is_exit_1(desk: Desk) -> None:
    strict = FLOW.replace("limits:", "on_undefined: fail\nlimits:")
    await desk.admin.run("flows", "apply", write(desk, "new.yaml", strict))
    piped = await desk.admin.run("flows", "render", "process-payment", "--payload", "-", stdin=b"{}")
    assert (piped.code, "on_undefined is fail" in piped.err) == (1, True)
    old = await desk.admin.run("flows", "render", "process-payment", "--payload", "-", "--version", "1", stdin=b"{}")
    assert (old.code, "payload is empty" in old.err) == (0, True)


async def test_a_replay_takes_toml_too(desk: Desk, tmp_path: Path) -> None:
    file = write(desk, "x.toml", source.dump(source.read(FLOW).body, "toml"))
    replayed = await desk.admin.run("policy", "replay", file, "--json")
    assert (replayed.code, replayed.json["flow"]) == (0, "process-payment")
