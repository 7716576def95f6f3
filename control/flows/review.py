"""May a flow be saved? What is wrong with it is refused by line and key, so that a typo isn't found in the middle of a
run; what is only odd is said."""

import difflib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa

from control.flows import direct, template, triggers
from control.flows.direct import Direct
from control.flows.flow import Approval, Tool
from control.flows.quantities import duration
from control.flows.source import Written
from control.identity.charter import fits
from control.tables import accounts, definitions, executions, flows
from kit.db import Database, pages
from kit.errors import Invalid

SAMPLES = 20
"""The newest events of a flow, which its variables are looked for in."""
TOLD = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What a flow is held against. `timeout_s` None is no maximum; `tools` are those of each server that was ever seen;
    `events` are the flow's own, newest first."""

    plan: str
    timeout_s: int | None
    tools: Mapping[str, Sequence[str]]
    events: Sequence[Mapping[str, Any]]


async def account(db: Database, account_id: str, flow_name: str) -> Account:
    its = sa.select(accounts.c.plan, accounts.c.timeout_s).where(accounts.c.id == account_id)
    [row] = await db.read(its)
    tools = await _tools(db, account_id)
    return Account(
        plan=row.plan, timeout_s=row.timeout_s, tools=tools, events=await samples(db, account_id, flow_name, SAMPLES)
    )


async def samples(db: Database, account_id: str, flow_name: str, most: int) -> list[dict[str, Any]]:
    """The newest events of a flow that are still kept."""
    mine = (executions.c.account_id == account_id) & (flows.c.name == flow_name)
    kept = sa.select(executions.c.trigger_event).join(flows, flows.c.id == executions.c.flow_id)
    kept = kept.where(mine, executions.c.payload_deleted_at.is_(None))
    rows = await db.read(kept.order_by(executions.c.created_at.desc(), executions.c.id.desc()).limit(most))
    return [json.loads(row.trigger_event) for row in rows]


async def _tools(db: Database, account_id: str) -> dict[str, list[str]]:
    key = (definitions.c.server, definitions.c.tool)
    asked = sa.select(*key).distinct()
    asked = asked.where(definitions.c.account_id == account_id, definitions.c.status != "replaced")
    found: dict[str, list[str]] = {}
    async for rows in pages(db, asked, *key):
        for row in rows:
            found.setdefault(row.server, []).append(row.tool)
    return found


class Known:
    """What a flow may name and say, by the settings.

    `groups` say how many are in each. `rule` refuses an expression that can't be read; rules live above flows, so it is
    handed in. `nameless` are the approvers without an email, by group: under four eyes nobody could tell if one of them
    is the run's requester. `wildcards` are the hosts with `*.` that a flow may name. `direct` are the keys for agents
    by alias; `covered` says of a flow and an alias if a hard budget counts what that costs.
    """

    def __init__(
        self,
        *,
        models: Sequence[str],
        servers: Sequence[str],
        groups: Mapping[str, int],
        rule: Callable[[str], None] = lambda expression: None,
        nameless: Mapping[str, Sequence[str]] = MappingProxyType({}),
        git: Sequence[str] = (),
        wildcards: Sequence[str] = (),
        direct: Mapping[str, Direct] = MappingProxyType({}),
        covered: Callable[[str, str], bool] = lambda flow, alias: False,
    ) -> None:
        self._named = {"model": set(models), "server": set(servers), "group": set(groups), "git host": set(git)}
        self._people = groups
        self._wildcards = frozenset(wildcards)
        self._rule = rule
        self._nameless = nameless
        self._direct = direct
        self._covered = covered

    def names(self, kind: str) -> list[str]:
        """What there is of a kind: model, server, group or git host."""
        return sorted(self._named[kind])

    def check(self, written: Written) -> None:
        """Invalid names the line and what there is."""
        flow = written.flow
        self._one(written, "model", flow.agent.model, "agent", "model")
        self._past(written)
        for number, tool in enumerate(flow.tools):
            at = ("tools", number)
            if "*" not in tool.server:
                self._one(written, "server", tool.server, *at, "server")
            if tool.approval:
                self._one(written, "group", tool.approval.group, *at, "approval", "group")
                self._enough(written, tool.approval, *at, "approval", "quorum")
                if tool.approval.escalate:
                    self._one(written, "group", tool.approval.escalate, *at, "approval", "escalate")
                self._seen(written, tool.approval, *at, "approval", "four_eyes")
                self._read(written, tool.approval.when, *at, "approval", "when")
            self._read(written, tool.deny, *at, "deny")
        self._reach(written)
        try:
            template.slots(flow.prompt)
        except Invalid as error:
            raise _at(written, error, "prompt") from error

    def preferring(self, written: Written) -> list[str]:
        """What is odd about `gateway: prefer`."""
        limit = self._limit(written) if written.flow.agent.gateway == "prefer" else None
        if limit is None:
            return []
        return [f"{written.where('agent', 'gateway')}: under {limit} its agents never go past the gateway."]

    def _past(self, written: Written) -> None:
        """A way past the gateway needs a key that an admin marked for it, and no limit that only the gateway keeps."""
        gateway, where = written.flow.agent.gateway, written.where("agent", "gateway")
        if gateway is True:
            return
        if refused := direct.refusal(written.flow, self._direct.get(written.flow.agent.model)):
            raise Invalid("flow_invalid", f"{where}: {refused[0]}.", refused[1])
        if gateway is False and (limit := self._limit(written)):
            said = f"{where}: past the gateway nobody keeps {limit}."
            raise Invalid("flow_invalid", said, direct.INSTEAD)

    def _limit(self, written: Written) -> str | None:
        flow = written.flow
        return direct.bounded(flow, self._covered(flow.name, flow.agent.model))

    def _one(self, written: Written, kind: str, name: str, *at: str | int) -> None:
        if name not in self._named[kind]:
            said = f"{written.where(*at)}: the {kind} {name!r} is not in preloop.toml."
            raise Invalid("flow_invalid", said, _meant(name, self._named[kind]))

    def _enough(self, written: Written, approval: Approval, *at: str | int) -> None:
        people = self._people[approval.group]
        if approval.quorum > people:
            said = f"{approval.quorum} must say yes, and the group {approval.group!r} has {people}"
            hint = f"Write at most {people}, or put" if people else "Put"
            hint += f" more people into {approval.group!r} of [groups] in preloop.toml."
            raise Invalid("flow_invalid", f"{written.where(*at)}: {said}.", hint)

    def _reach(self, written: Written) -> None:
        """Hosts: whole names; a wildcard is for an admin to allow. Repositories: of hosts that are set up."""
        for number, site in enumerate(written.flow.egress if written.flow.egress != "open" else ()):
            name = site.partition(":")[0]
            if name.startswith("*.") and name not in self._wildcards:
                said = f"{written.where('egress', number)}: {name!r} is many hosts, and preloop.toml does not allow it."
                raise Invalid("flow_invalid", said, "Name the hosts, or let an admin add it to [egress] wildcards.")
        for number, repository in enumerate(written.flow.git):
            self._one(written, "git host", repository.host, "git", number, "host")

    def _seen(self, written: Written, approval: Approval, *at: str | int) -> None:
        groups = (approval.group, approval.escalate or "") if approval.four_eyes else ()
        for group in groups:
            if nameless := self._nameless.get(group):
                who = ", ".join(nameless)
                said = f"{written.where(*at)}: {who} of group {group!r} can't be told from who started a run."
                raise Invalid("flow_invalid", said, f"Give [approvers.{nameless[0]}] an email in preloop.toml.")

    def _read(self, written: Written, expression: str | None, *at: str | int) -> None:
        if expression:
            try:
                self._rule(expression)
            except Invalid as error:
                raise _at(written, error, *at) from error


def review(written: Written, known: Known, of: Account) -> list[str]:
    """Invalid for what is wrong; else what is odd, a sentence each."""
    known.check(written)
    _check_timeout(written, of)
    odd = known.preferring(written)
    odd += [said for number, tool in enumerate(written.flow.tools) for said in _check_tool(written, number, tool, of)]
    return odd + _variables(written, of)


def _check_timeout(written: Written, of: Account) -> None:
    asked = written.flow.limits.timeout
    if of.timeout_s is not None and asked > of.timeout_s:
        most = duration(of.timeout_s)
        said = f"{duration(asked)} is above the maximum of the plan {of.plan!r}, {most}"
        hint = f"Write at most {most}, or give the plan more: `timeout` of [plans.{of.plan}] in preloop.toml."
        raise Invalid("flow_invalid", f"{written.where('limits', 'timeout')}: {said}.", hint)
    wall = written.flow.limits.wall
    if wall < asked:
        said = f"{written.where('limits', 'wall')}: {duration(wall)} is below limits.timeout, {duration(asked)}."
        raise Invalid(
            "flow_invalid", said, "The wall clock has the agent's own time in it: raise it or lower the timeout."
        )
    init = written.flow.limits.init
    if init is not None and init >= asked:
        said = f"{duration(init)} leaves nothing of limits.timeout, {duration(asked)}"
        hint = "The commands of init work in the agent's own time: lower it or raise the timeout."
        raise Invalid("flow_invalid", f"{written.where('limits', 'init')}: {said}.", hint)


def _check_tool(written: Written, number: int, tool: Tool, of: Account) -> list[str]:
    """A tool that a server lacks is wrong. Of a server that was never seen nobody knows, and a pattern may be early."""
    where = written.where("tools", number, "tool")
    if "*" not in tool.server and tool.server not in of.tools:
        return [
            f"{where}: nothing of the server {tool.server!r} was seen yet, so nobody knows if it has {tool.tool!r}."
        ]
    its = [name for server, tools in of.tools.items() if fits(tool.server, server) for name in tools]
    if any(fits(tool.tool, name) for name in its):
        return []
    if "*" in tool.tool or "*" in tool.server:
        return [f"{where}: no tool that was seen is {tool.tool!r} of {tool.server!r}."]
    raise Invalid(
        "flow_invalid", f"{where}: the server {tool.server!r} has no tool {tool.tool!r}.", _meant(tool.tool, its)
    )


def _variables(written: Written, of: Account) -> list[str]:
    """Variables that no sample has. Without a sample only those that no event of its triggers can have."""
    can = {"trigger_event": dict.fromkeys(triggers.keys(written.flow.triggers))}
    events = [{"trigger_event": event} for event in of.events]
    found = {}
    for slot in template.slots(written.flow.prompt):
        if slot.optional or any(template.has(slot, event) for event in events):
            continue
        if events:
            hint = template.missing(slot, events[0]).hint
            found[slot.spelled] = f"none of the newest {len(events)} events has {slot.spelled}; {hint}"
        elif not template.has(replace(slot, path=slot.path[:2]), can):
            found[slot.spelled] = f"no event has {slot.spelled}; {template.missing(slot, can).hint}"
    where = written.where("prompt")
    return [f"{where}: {said}." for said in found.values()]


def _at(written: Written, error: Invalid, *at: str | int) -> Invalid:
    return Invalid(error.code, f"{written.where(*at)}: {error.message}", error.hint)


def _meant(name: str, there: Iterable[str]) -> str:
    known = sorted(set(there))
    near = difflib.get_close_matches(name, known, n=1)
    told = ", ".join(known[:TOLD]) + (", …" if len(known) > TOLD else "")
    return (f"Perhaps {near[0]!r} is meant. " if near else "") + f"Known: {told or 'none'}."
