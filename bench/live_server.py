"""The server that `show live` looks at: the people's door as it is, in a process of its own, which writes on command.

    python -m bench.live_server FOLDER

It prints `origin cookie` once. Each line of its input is a JSON command, answered in one line:
`{"start": true}` with the id of a new running execution; `{"log": id, "count": n, "per_s": rate}` when all is written
(`per_s` 0: as fast as it goes; `wide`: so many characters more in each line); `{"ask": id}` with the id of a call that
waits for approval, and when it did; `{"decide": call}` with when it was approved; `{"work": id, "calls": n}` when so
many calls have succeeded; `{}` cuts all sockets as a dying network does.
"""

import json
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from anyio.to_thread import run_sync

from control.executions import logs
from control.identity.principals import Principal, Role
from kit import observe
from kit.clock import Clock, rfc3339
from kit.db import Lane, Tx
from tests.browser.cables import Cables
from tests.control.house import ACCOUNT
from tests.serving import serving
from tests.web.world import World, open_world

BATCH = 200
"""Lines of one chunk in a burst; a steady log is stored ten times a second, as the runner does."""


class Stage:
    """What can be done to what is watched."""

    def __init__(self, world: World, cables: Cables) -> None:
        self._world = world
        self._running: dict[str, Principal] = {}
        self._cables = cables
        self._amount = 700

    async def do(self, asked: dict[str, Any]) -> object:
        if "start" in asked:
            principal = await self._world.house.running()
            self._running[principal.execution_id or ""] = principal
            return principal.execution_id
        if "log" in asked:
            return await self._log(asked["log"], asked["count"], asked["per_s"], "x" * asked.get("wide", 0))
        if "ask" in asked:
            self._amount += 1
            call = await self._world.house.call(self._running[asked["ask"]], amount=self._amount)
            return {"call": call, "at": time.time()}
        if "work" in asked:
            return await self._work(self._running[asked["work"]], asked["calls"])
        if "decide" in asked:
            await self._world.house.decide(asked["decide"])
            return {"at": time.time()}
        return self._cables.cut()

    async def _work(self, run: Principal, calls: int) -> int:
        for number in range(calls):
            call = await self._world.house.call(run, "get_contract", id=f"C-{number}")
            await self._world.house.claim(run, call)
            await self._world.house.settle(call, found=True)
        return calls

    async def _log(self, run: str, count: int, per_s: int, more: str) -> float:
        size, began = per_s // 10 or BATCH, anyio.current_time()
        for start in range(0, count, size):
            texts = [f"line {start + n}: reading src/module.py{more}" for n in range(min(size, count - start))]
            await self._world.house.db.write(partial(_append, run=run, texts=texts), lane=Lane.BULK)
            if per_s:
                await anyio.sleep_until(began + (start + size) / per_s)
        return anyio.current_time() - began


def _append(tx: Tx, *, run: str, texts: list[str]) -> None:
    at = rfc3339(Clock().now())
    logs.append(tx, ACCOUNT, run, [(at, "agent", "info", text) for text in texts])


async def main() -> None:
    observe.configure("error")
    cables = Cables()
    async with open_world(Path(sys.argv[1])) as world:
        world.app.add_middleware(cables.fit)
        async with serving(world.app) as url:
            await obey(Stage(world, cables), f"{url} {await world.token(Role.ADMIN)}")


async def obey(stage: Stage, hello: str) -> None:
    print(hello, flush=True)
    while line := await run_sync(sys.stdin.readline, abandon_on_cancel=True):
        print(json.dumps(await stage.do(json.loads(line))), flush=True)


if __name__ == "__main__":
    anyio.run(main)
