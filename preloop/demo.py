"""The main job, once, from nothing: a signed webhook, an agent, a gated tool, a person's yes, the bill.

Nothing here is a shortcut: it is `up` with the example's files and a free port, watched by its own events. Without a
terminal it approves as the approver would, with an HTTP client on the public page.
"""

import json
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import sqlalchemy as sa
from anyio.abc import Process, TaskGroup

from control import events
from control.approvals.notices import Notice
from control.events import Event
from control.executions import lifecycle, toolcalls
from control.executions.states import Cause, Stored
from control.flows import catalog, source
from control.identity.accounts import DEFAULT
from control.tables import executions
from kit import webhooks
from kit.clock import Clock
from kit.db import Tx
from kit.errors import Unavailable
from kit.ids import new_id
from ledger import money, reports
from preloop import show
from preloop.client_settings import DemoSettings
from preloop.serve import Plane, plane
from preloop.settings import Settings, load

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
FOLDER = Path(".demo")
FLOW = "process-payment"
PAYLOAD = {"amount": 1500, "recipient": "contractor@example.com", "contract_id": "CONTRACT-2025-001"}
LIMIT_S = 300
"""Without a person, the whole run takes seconds; this is where we stop hoping."""


class Demo:
    """One demo: its live lines, and the link that is to be opened."""

    def __init__(self, wanted: DemoSettings) -> None:
        self._wanted = wanted
        self._person = sys.stdin.isatty() and sys.stdout.isatty() and not wanted.yes
        self._link = ""
        self._asked = anyio.Event()
        self._billed = False
        self._held: list[Event] = []

    def notified(self, notice: Notice) -> None:
        """The console channel: the link that an approver would get by mail."""
        self._link = notice.link or notice.page
        self._asked.set()

    async def run(self) -> int:
        """0 when the run SUCCEEDED."""
        async with payments() as tools:
            settings = self._settings(tools)
            async with plane(settings, _talk, self.notified) as running:
                self._preface(running)
                await self._prepare(running)
                execution_id = await _trigger(running)
                try:
                    state = await self._watch(running, execution_id)
                except BaseException:
                    with anyio.CancelScope(shield=True):  # broken off: nothing of it runs on
                        await running.house.db.write(lambda tx: _give_up(tx, running))
                        await _tidied(running, execution_id)
                    raise
                await self._close(running, execution_id, state)
                await _tidied(running, execution_id)
                if self._person:
                    await _until_signal()
        return 0 if state == "SUCCEEDED" else 1

    def _settings(self, tools: str) -> Settings:
        return load(
            config=EXAMPLES / "preloop.toml",
            data=FOLDER,
            server={"port": 0, "container_port": 0},
            servers={"payments": {"url": tools}},
            runner={"engine": self._wanted.engine},
            log_level="error",
        )

    def _preface(self, running: Plane) -> None:
        show.out.print("One payment, one approval, on this machine. No key, no network.", style="bold")
        if self._wanted.engine == "process":
            show.out.print("The agent runs as a plain process: that is no isolation. DEMO_ENGINE=docker contains it.")
        if self._person:
            show.out.print(f"Watch it: {running.sign_in}", soft_wrap=True)
        show.out.print()

    async def _prepare(self, running: Plane) -> None:
        written = source.read((EXAMPLES / "flows" / "process-payment.yaml").read_text())
        house = running.house
        await house.db.write(lambda tx: catalog.apply(tx, DEFAULT, written, sealer=house.sealer, by="demo"))
        await house.db.write(lambda tx: _give_up(tx, running))  # a demo that was broken off holds the flow's one slot

    # live lines ---------------------------------------------------------------------------------------------------

    async def _watch(self, running: Plane, execution_id: str) -> str:
        """Tell each step as its event arrives; the final state."""
        limit = anyio.fail_after(None if self._person else LIMIT_S)
        with limit, running.house.bus.watch(events.topic(execution_id)) as news:
            async with anyio.create_task_group() as tasks:
                after, state = 0, ""
                while not state:
                    for event in await events.read(running.house.db, DEFAULT, execution_id, after=after):
                        after = event.seq
                        state = str(event.data["state"]) if event.type == "execution.ended" else ""
                        await self._tell(event, running, tasks)
                    await news.changed(0 if state else 1.0)
                tasks.cancel_scope.cancel()
        return state

    async def _tell(self, event: Event, running: Plane, tasks: TaskGroup) -> None:
        """One line. A model call is billed up to 100 ms after its answer, so what it asked for may come first: that
        waits."""
        data = event.data
        if event.type == "execution.created":
            _line("event", f"webhook for {FLOW}: {PAYLOAD['amount']} USD to {PAYLOAD['recipient']}")
        elif event.type == "model.answered" and not self._billed:
            self._billed = True
            cost = money.usd(data["cost_nano"]) if data["cost_nano"] is not None else "unpriced"
            _line("model", f"{data['alias']} answered through the gateway, {cost} USD")
            for held in self._held:
                await self._tell(held, running, tasks)
        elif event.type == "approval.asked" and not self._billed:
            self._held.append(event)
        elif event.type == "approval.asked":
            call = await _call(running, data["call"])
            _line("asked", f"{data['tool']} {call['arguments']}, waits for {', '.join(data['asked'])}")
            tasks.start_soon(self._approve, running)
        elif event.type == "approval.closed":
            approver = running.house.desk.directory.approvers.get(data.get("by") or "")
            _line(data["status"], f"by {approver.name}" if approver else "nobody decided")
        elif event.type == "tool.settled":
            call = await _call(running, data["call"])
            _line("result", f"{data['tool']} {data['status']}: {call['result']}")

    async def _approve(self, running: Plane) -> None:
        await self._asked.wait()
        if not self._person:
            await decide(self._link, "approved")
            return
        show.out.print(f"Approve it there: {self._link}", soft_wrap=True)
        show.out.print("or here, y or n and Enter: ", end="")
        while True:
            await anyio.wait_readable(sys.stdin)
            typed = sys.stdin.readline()
            if typed.strip().lower() in ("y", "yes"):
                return await decide(self._link, "approved")
            if typed.strip().lower() in ("n", "no"):
                return await decide(self._link, "declined", "no, at the demo's prompt")
            if not typed:  # the terminal's input is closed: the link remains
                return
            show.out.print("y or n: ", end="")

    async def _close(self, running: Plane, execution_id: str, state: str) -> None:
        db = running.house.db
        spend = await reports.of_execution(db, DEFAULT, execution_id)
        _line("spend", f"{money.usd(spend.cost_nano)} USD of the flow's 2.00 USD, {spend.calls} model calls")
        show.out.print(f"{state}: {running.url}/executions/{execution_id}", style="bold")
        if self._person:
            show.out.print("Still serving, so that the links live; Ctrl-C ends it.")
        show.out.print("Not shown: a real agent CLI, a real model provider. Next: `make up`, then README.md.")


async def run(wanted: DemoSettings) -> int:
    return await Demo(wanted).run()


# parts of the world outside -------------------------------------------------------------------------------------------


@asynccontextmanager
async def payments() -> AsyncIterator[str]:
    """The example's tool server as a process of its own; yields its address."""
    await anyio.Path(FOLDER).mkdir(exist_ok=True, mode=0o700)
    command = [sys.executable, str(EXAMPLES / "payments" / "server.py")]
    command += ["--port", "0", "--journal", str(FOLDER / "payments.jsonl")]
    async with await anyio.open_process(command, stderr=None, stdin=None, start_new_session=True) as process:
        try:
            yield await _first_line(process)
        finally:
            process.terminate()


async def _first_line(process: Process) -> str:
    assert process.stdout
    said = b""
    with anyio.fail_after(30):
        while b"\n" not in said:
            said += await process.stdout.receive()
    found = re.search(rb"http://\S+", said)
    if not found:
        raise Unavailable("tools_not_started", f"The payments server said {said.decode(errors='replace')!r}.")
    return found[0].decode()


async def _trigger(running: Plane) -> str:
    """What a sender does: sign the event and post it."""
    house = running.house
    row, _ = await catalog.read(house.db, DEFAULT, FLOW)
    body = json.dumps(PAYLOAD).encode()
    now = int(Clock().now().timestamp())
    headers = webhooks.sign(house.sealer.unseal(row.hook_secret), message_id=new_id("msg"), timestamp=now, body=body)
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.post(f"{running.url}/hooks/flows/{FLOW}", content=body, headers=headers)
    answer.raise_for_status()
    return str(answer.json()["execution_id"])


async def decide(link: str, verdict: str, reason: str = "") -> None:
    """What an approver's browser does: open the link, follow it with its cookie, send the form it shows."""
    origin = link.split("/a/")[0]
    async with httpx.AsyncClient(follow_redirects=True, trust_env=False) as http:
        page = await http.get(link)
        page.raise_for_status()
        fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page.text))
        form = fields | {"verdict": verdict, "reason": reason}
        answer = await http.post(str(page.url), data=form, headers={"origin": origin})
        answer.raise_for_status()


async def _call(running: Plane, call_id: str) -> dict[str, Any]:
    row = await toolcalls.look(running.house.db, call_id)
    result = (toolcalls.result(row) or {}).get("structuredContent", row.error)
    return {"arguments": row.args, "result": json.dumps(result)}


def _give_up(tx: Tx, running: Plane) -> None:
    """Cancel what is not final in the demo's own folder, whoever held it."""
    open_ = sa.select(executions.c.id).where(executions.c.state.in_([Stored.PENDING, Stored.RUNNING]))
    for execution_id in tx.execute(open_).scalars().all():
        running.house.lifecycle.end(tx, execution_id, Cause.CANCELLED, message="The demo was broken off.")


async def _tidied(running: Plane, execution_id: str) -> None:
    """Let the worker remove what the agent left on its engine; what it can't, the next start does."""
    mine = executions.c.id == execution_id
    with anyio.move_on_after(10), running.house.bus.watch(lifecycle.stop_topic(execution_id)) as news:
        while (await running.house.db.read(sa.select(executions.c.cleaned_at).where(mine)))[0].cleaned_at is None:
            await news.changed(1.0)


async def _until_signal() -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            return


def _line(name: str, text: str) -> None:
    show.out.print(f"  [cyan]{name:<9}[/cyan]{show.clean(text)}", soft_wrap=True)


def _talk(text: str) -> None:
    show.talk.print(text)
