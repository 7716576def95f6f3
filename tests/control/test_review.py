"""What a flow is refused for when it is saved, and what is only said. All of it on both databases."""

import json
from datetime import timedelta

import anyio
import pytest
import sqlalchemy as sa

from control.approvals import pins, rules
from control.flows import catalog, review, source
from control.flows.review import Known
from control.identity import accounts
from control.identity import charter as charters
from control.identity.charter import GitGrant
from control.identity.plans import PRESETS
from control.tables import accounts as stored_accounts
from control.tables import executions, flows
from kit import canonical
from kit.db import Database, Tx
from kit.errors import Invalid, Missing
from tests.control.house import ACCOUNT, FLOW, House

KNOWN = Known(
    models=["default"],
    servers=["payments", "new"],
    groups={"finance": 2, "directors": 1},
    rule=rules.check,
    git=["github.com"],
    wildcards=["*.p.example"],
)
HEAD = "version: 1\nname: process-payment\nagent: {runtime: scripted}\n"


async def reviewed(db: Database, text: str) -> list[str]:
    written = source.read(text)
    return review.review(written, KNOWN, await review.account(db, ACCOUNT, written.flow.name))


async def refused(db: Database, text: str) -> Invalid:
    with pytest.raises(Invalid) as caught:
        await reviewed(db, text)
    return caught.value


async def on_plan(db: Database, name: str) -> None:
    await db.write(lambda tx: accounts.follow_plan(tx, ACCOUNT, PRESETS, name))


async def test_a_flow_whose_tools_were_seen_is_saved_without_a_word(house: House) -> None:
    assert await reviewed(house.db, FLOW) == []


@pytest.mark.parametrize(
    ("entry", "says", "hint"),
    [
        ("{server: payments, tool: payy}", "line 6, tools.0.tool: the server 'payments' has no tool 'payy'", "'pay'"),
        ("{server: payments, tool: zzz}", "has no tool 'zzz'", "Known: get_contract, pay."),
        ("{server: paymnts, tool: pay}", "line 6, tools.0.server: the server 'paymnts'", "'payments'"),
        ("{server: payments, tool: pay, approval: {group: finanse}}", "tools.0.approval.group: the group", "'finance'"),
        (
            "{server: payments, tool: pay, approval: {group: finance, escalate: x}}",
            "tools.0.approval.escalate",
            "Known",
        ),
        (
            "{server: payments, tool: pay, approval: {group: finance, quorum: 3}}",
            "line 6, tools.0.approval.quorum: 3 must say yes, and the group 'finance' has 2.",
            "at most 2",
        ),
        ("{server: payments, tool: pay, deny: 'args.x >'}", "line 6, tools.0.deny: 'args.x >' is not a CEL", ""),
        ("{server: payments, tool: pay, approval: {group: finance, when: '('}}", "line 6, tools.0.approval.when", ""),
    ],
)
async def test_what_a_tool_entry_names_must_be_there(house: House, entry: str, says: str, hint: str) -> None:
    fault = await refused(house.db, f"{HEAD}prompt: x\ntools:\n- {entry}\n")
    assert says in fault.message
    assert hint in fault.hint


async def test_an_unknown_model_is_named_with_its_line(house: House) -> None:
    fault = await refused(house.db, HEAD.replace("scripted}", "scripted, model: defaults}") + "prompt: x\n")
    assert fault.message == "line 3, agent.model: the model 'defaults' is not in preloop.toml."
    assert fault.hint == "Perhaps 'default' is meant. Known: default."


async def test_a_template_that_cannot_be_read_is_named_with_the_prompt_s_line(house: House) -> None:
    fault = await refused(house.db, HEAD + "prompt: 'a {{b c}}'\n")
    assert fault.message == "line 4, prompt: Line 1 of the prompt: '{{b c}}' can't be read at 'c}}'."


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("{server: new, tool: pay}", "tools.0.tool: nothing of the server 'new' was seen yet"),
        ("{server: payments, tool: refund*}", "tools.0.tool: no tool that was seen is 'refund*' of 'payments'"),
        ("{server: 'bank*', tool: '*'}", "tools.0.tool: no tool that was seen is '*' of 'bank*'"),
    ],
)
async def test_what_may_still_come_is_only_said(house: House, entry: str, says: str) -> None:
    [warning] = await reviewed(house.db, f"{HEAD}prompt: x\ntools:\n- {entry}\n")
    assert warning.startswith("line 6, ")
    assert says in warning


@pytest.mark.parametrize(
    "entry", ["{server: '*', tool: pay}", "{server: 'pay*', tool: 'get_*'}", "{server: '*', tool: '*'}"]
)
async def test_patterns_that_fit_something_are_well(house: House, entry: str) -> None:
    assert await reviewed(house.db, f"{HEAD}prompt: x\ntools:\n- {entry}\n") == []


async def test_a_tool_is_found_among_thousands_and_one_that_is_history_is_not(house: House) -> None:
    def learn(tx: Tx) -> None:
        raws = [{"name": f"tool-{number:04}"} for number in range(1100)]
        seen = [pins.Seen(tool=raw["name"], digest=canonical.digest(raw), raw=canonical.dumps(raw)) for raw in raws]
        pins.see(tx, ACCOUNT, "new", seen, pins.Trust(first_use=True))

    await house.db.write(learn)
    assert await reviewed(house.db, f"{HEAD}prompt: x\ntools:\n- {{server: new, tool: tool-1099}}\n") == []
    await house.forget_definitions()
    [warning] = await reviewed(house.db, f"{HEAD}prompt: x\ntools:\n- {{server: new, tool: tool-1099}}\n")
    assert "nothing of the server 'new' was seen yet" in warning


async def test_a_timeout_above_the_plan_s_is_refused_and_names_both(house: House) -> None:
    await on_plan(house.db, "free")
    assert await reviewed(house.db, HEAD + "prompt: x\nlimits: {timeout: 30m}\n") == []
    fault = await refused(house.db, HEAD + "prompt: x\nlimits: {wall: 2h,\n  timeout: 31m}\n")
    assert fault.message == "line 6, limits.timeout: 31m is above the maximum of the plan 'free', 30m."
    assert "at most 30m" in fault.hint
    await on_plan(house.db, "enterprise")
    assert await reviewed(house.db, HEAD + "prompt: x\nlimits: {timeout: 2h}\n") == []


async def test_a_timeout_that_is_not_written_is_held_against_the_plan_too(house: House) -> None:
    await house.db.write(lambda tx: tx.execute(sa.update(stored_accounts).values(timeout_s=600)))
    assert "limits.timeout: 30m is above" in (await refused(house.db, HEAD + "prompt: x\n")).message
    await house.db.write(lambda tx: tx.execute(sa.update(stored_accounts).values(timeout_s=None)))
    assert await reviewed(house.db, HEAD + "prompt: x\nlimits: {timeout: 300d, wall: 300d}\n") == []


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        ("{timeout: 2h, wall: 1h}", "line 5, limits.wall: 1h is below limits.timeout, 2h."),
        ("{wall: 10m}", "line 5, limits.wall: 10m is below limits.timeout, 30m."),
        ("{timeout: 10m, init: 10m}", "line 5, limits.init: 10m leaves nothing of limits.timeout, 10m."),
        ("{init: 1h}", "line 5, limits.init: 1h leaves nothing of limits.timeout, 30m."),
    ],
)
async def test_limits_that_contradict_each_other_are_refused(house: House, limits: str, says: str) -> None:
    await on_plan(house.db, "enterprise")
    assert (await refused(house.db, f"{HEAD}prompt: x\nlimits: {limits}\n")).message == says


@pytest.mark.parametrize("entry", ["{group: finance, quorum: 2}", "{group: directors}"])
async def test_a_quorum_of_a_whole_group_is_well(house: House, entry: str) -> None:
    assert (
        await reviewed(house.db, f"{HEAD}prompt: x\ntools:\n- {{server: payments, tool: pay, approval: {entry}}}\n")
        == []
    )


async def test_a_variable_that_no_past_event_has_is_said_with_what_they_have(house: House) -> None:
    payload = "trigger_event.payload"
    prompt = f"prompt: '{{{{{payload}.amuont}}}} {{{{{payload}.amount}}}} {{{{{payload}.x|default}}}}'\n"
    assert await reviewed(house.db, HEAD + prompt) == []
    await house.start()
    [warning] = await reviewed(house.db, HEAD + prompt)
    wanted = "none of the newest 1 events has trigger_event.payload.amuont; payload has `amount`."
    assert warning == f"line 4, prompt: {wanted}"


async def test_a_variable_that_some_past_event_has_is_well_and_only_the_newest_twenty_count(house: House) -> None:
    first = await house.start()
    event = json.dumps({"type": "manual", "payload": {"rare": 1}})
    now = (await house.row(first)).created_at
    changed = sa.update(executions).values(trigger_event=event, created_at=now - timedelta(days=1))
    await house.db.write(lambda tx: tx.execute(changed))
    text = HEAD + "prompt: '{{trigger_event.payload.rare}}'\n"
    for _ in range(review.SAMPLES - 1):
        await house.start()
    assert await reviewed(house.db, text) == []
    await house.start()
    assert "none of the newest 20 events" in (await reviewed(house.db, text))[0]


async def test_events_of_other_flows_and_deleted_ones_are_no_samples(house: House) -> None:
    await house.start()
    gone = sa.update(executions).values(payload_deleted_at=sa.func.current_timestamp(), trigger_event="{}")
    await house.db.write(lambda tx: tx.execute(gone))
    text = HEAD + "prompt: '{{trigger_event.payload.rare}}'\n"
    assert await reviewed(house.db, text) == []
    await house.start()
    assert await reviewed(house.db, text.replace("process-payment", "another")) == []
    assert len(await reviewed(house.db, text)) == 1


async def test_a_variable_that_no_event_can_have_is_said_before_the_first_one(house: House) -> None:
    text = "version: 1\nname: fresh\nagent: {runtime: scripted}\nprompt: '{{payload.amount}}'\n"
    [warning] = await reviewed(house.db, text)
    assert warning == "line 4, prompt: no event has payload.amount; the template has `trigger_event`."


@pytest.mark.parametrize(
    ("variable", "triggers", "hint"),
    [
        ("trigger_event.paylod.amount", "", "trigger_event has `payload`"),
        ("trigger_event.paylod", "[{type: webhook}]", "trigger_event has `payload`"),
        ("trigger_event.tytle", "[{type: github, events: [issue]}]", "trigger_event has `title`"),
        ("trigger_event.title", "[{type: webhook}]", "trigger_event has `type`, `payload`"),
        ("trigger_event.payload.anything", "", ""),
        ("trigger_event.type", "", ""),
        ("trigger_event.title", "[{type: gitlab, events: [issue], author_association: any}]", ""),
        ("trigger_event.scheduled_at", "[{type: schedule, cron: '0 5 * * *'}]", ""),
        ("trigger_event['payload'][0]", "", ""),
    ],
)
async def test_what_no_event_of_its_triggers_has_is_said_before_the_first_one(
    house: House, variable: str, triggers: str, hint: str
) -> None:
    text = f'version: 1\nname: fresh\nagent: {{runtime: scripted}}\nprompt: "{{{{{variable}}}}}"\n'
    said = await reviewed(house.db, text + (f"triggers: {triggers}\n" if triggers else ""))
    assert said == ([f"line 4, prompt: no event has {variable}; {hint}."] if hint else [])


# versions -------------------------------------------------------------------------------------------------------------


async def test_every_version_is_kept_and_read_by_its_number(house: House) -> None:
    await house.apply(FLOW.replace("to {{", "for {{"))
    row, flow = await catalog.read(house.db, ACCOUNT, "process-payment", 1)
    assert (row.number, row.version, " to {{" in flow.prompt) == (1, 2, True)
    row, flow = await catalog.read(house.db, ACCOUNT, "process-payment")
    assert (row.number, row.version, " for {{" in flow.prompt) == (2, 2, True)
    with pytest.raises(Missing, match="has no version 3") as caught:
        await catalog.read(house.db, ACCOUNT, "process-payment", 3)
    assert caught.value.hint == "Its versions are 1 to 2."
    with pytest.raises(Missing, match="no flow 'nope'"):
        await catalog.read(house.db, ACCOUNT, "nope", 1)


async def test_many_who_apply_at_once_make_a_version_each(house: House) -> None:
    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(house.apply, f"{HEAD.replace('process-payment', 'busy')}prompt: p{number}\n")
    rows = await house.db.read(catalog.versions(ACCOUNT).where(flows.c.name == "busy"))
    assert sorted(row.number for row in rows) == list(range(1, 9))
    assert len({row.body for row in rows}) == 8


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ("egress: ['*.example.com']", "line 5, egress.0: '*.example.com' is many hosts"),
        ("egress: [p.example, '*.org:8443']", "line 5, egress.1: '*.org' is many hosts"),
        ("egress: [10.0.0.1]", "line 5, egress.0: '10.0.0.1' is not a host's name"),
        ("egress: ['[::1]:443']", "line 5, egress.0"),
        ("egress: [0x7f.1]", "line 5, egress.0"),
        ("egress: [2130706433]", "line 5, egress.0"),
        ("egress: ['a.org:65536']", "line 5, egress.0"),
        ("egress: closed", "line 5, egress"),
        ("git: [{host: git.example.com, repo: o/r}]", "line 5, git.0.host: the git host 'git.example.com' is not in"),
        ("git: [{repo: o/../r}]", "line 5, git.0.repo: 'o/../r' is not `owner/repo`"),
        ("git: [{repo: o/r%2Fs}]", "line 5, git.0.repo"),
        ("git: [{repo: o/r.git}]", "line 5, git.0.repo"),
        ("git: [{repo: o/r, push: 'a/../b'}]", "line 5, git.0.push: 'a/../b' is not a branch"),
        ("git: [{repo: o/r, push: 'a*b'}]", "line 5, git.0.push"),
        ("git: [{repo: o/r}, {repo: o/r, push: main}]", "line 5, git: a repository stands twice"),
    ],
)
async def test_reach_that_nobody_allowed_is_refused(house: House, keys: str, says: str) -> None:
    assert says in (await refused(house.db, f"{HEAD}prompt: go\n{keys}\n")).message


async def test_hosts_and_repositories_become_part_of_the_charter(house: House) -> None:
    text = f"{HEAD}prompt: go\negress: [a.org, 'b.org:8443', '*.p.example']\ngit: [{{repo: o/r, push: preloop/*}}]\n"
    assert await reviewed(house.db, text) == []
    charter = source.read(text).flow.charter()
    assert charters.loads(charters.dumps(charter)) == charter
    assert charter.egress == ("a.org", "b.org:8443", "*.p.example")
    assert charter.git == (GitGrant(host="github.com", repo="o/r", push="preloop/*"),)


async def test_open_stays_a_word_in_the_charter(house: House) -> None:
    text = f"{HEAD}prompt: go\negress: open\n"
    assert await reviewed(house.db, text) == []
    assert charters.loads(charters.dumps(source.read(text).flow.charter())).egress == "open"
