"""Is one yes one call, whoever presses at the same moment and whatever breaks off in between?

    scripts/show approvals [--short]

The approval page, the desk and the record over SQLite and PostgreSQL; people are HTTP clients with links.
Prints `name: value` lines; exit 0 when all of it holds, 1 when something does not, 2 when PostgreSQL is missing.
"""

import re
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter

import anyio
import httpx
import sqlalchemy as sa

from bench.figures import Sum, postgres
from control import events
from control.approvals.standing import Scope
from control.executions.states import Cause
from control.identity.principals import Principal
from control.tables import approvals, tool_calls, votes
from kit import observe
from tests.control.house import ACCOUNT
from tests.postgres import cluster
from tests.web.world import World, open_world

ROUNDS, SHORT_ROUNDS = 500, 40
SENDERS = 20
SESSIONS, CALLS = 10, 10
LOOKS = 100


@asynccontextmanager
async def page_of(
    world: World, approval: str, approver: str
) -> AsyncIterator[tuple[httpx.AsyncClient, dict[str, str]]]:
    """An approver with the page before them: their browser and its form's hidden fields."""
    async with world.client() as http:
        await http.get(f"/a/{await world.link(approval, approver)}")
        shown = (await http.get(f"/a/{approval}")).text
        yield http, dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', shown))


async def press(http: httpx.AsyncClient, approval: str, form: dict[str, str], verdict: str) -> httpx.Response:
    return await http.post(f"/a/{approval}", data=form | {"verdict": verdict, "reason": "because"})


async def opposite(world: World, number: int) -> bool:
    """Alice approves and Bob declines at once: one of them decides, the other's page says who."""
    principal = await world.house.gated(on_decline="continue")
    call = await world.house.call(principal, amount=1000 + number)
    approval = (await world.house.approval(call)).id
    answers: dict[str, httpx.Response] = {}

    async with page_of(world, approval, "alice") as (alice, hers), page_of(world, approval, "bob") as (bob, his):

        async def vote(http: httpx.AsyncClient, form: dict[str, str], verdict: str) -> None:
            answers[verdict] = await press(http, approval, form, verdict)

        async with anyio.create_task_group() as tasks:
            first = [(alice, hers, "approved"), (bob, his, "declined")]
            for one in first if number % 2 else reversed(first):
                tasks.start_soon(vote, *one)
    await world.house.end(principal.execution_id, Cause.CANCELLED)
    won = [verdict for verdict, answer in answers.items() if answer.status_code == 303]
    lost = [answer for answer in answers.values() if answer.status_code == 409]
    names = {"approved": "Alice Moreau", "declined": "Bob Okafor"}
    said = await world.house.db.read(sa.select(votes).where(votes.c.approval_id == approval))
    final = await world.house.approval(call)
    status = "lapsed" if won == ["approved"] else "declined"  # the run was ended before the yes was used
    return (len(won), len(lost), len(said), final.status) == (1, 1, 1, status) and names[won[0]] in lost[0].text


async def duels(world: World, sum_: Sum, rounds: int) -> None:
    began = perf_counter()
    good = 0
    for number in range(rounds):
        good += await opposite(world, number)
    sum_.say("rounds_of_opposite_verdicts", rounds, holds=True)
    sum_.say("rounds_with_exactly_one_winner", good, holds=good == rounds)
    sum_.say("seconds_per_round", f"{(perf_counter() - began) / rounds:.3f}", holds=True)


async def senders(world: World, sum_: Sum) -> None:
    """One yes and many processes that would send the call; then a standing yes for three and eight who want it."""
    house = world.house
    principal = await house.gated()
    call = await house.call(principal, amount=1)
    await house.decide(call, grant=Scope(exact=False, uses=3))
    sent: list[bool] = []

    async def send() -> None:
        sent.append(await house.claim(principal, call))

    async with anyio.create_task_group() as tasks:
        for _ in range(SENDERS):
            tasks.start_soon(send)
    sum_.say(f"sent_by_{SENDERS}_senders_of_one_yes", sum(sent), holds=sum(sent) == 1)
    got: list[str] = []

    async def ask(amount: int) -> None:
        got.append((await house.call_row(await house.call(principal, amount=amount))).status)

    async with anyio.create_task_group() as tasks:
        for amount in range(100, 108):
            tasks.start_soon(ask, amount)
    passed = got.count("ready")
    sum_.say("passed_of_8_by_a_standing_yes_for_3", passed, holds=passed == 3)
    await house.end(principal.execution_id, Cause.CANCELLED)


async def looks(world: World, sum_: Sum) -> None:
    """Mail scanners fetch links, with GET and with HEAD."""
    principal = await world.house.gated()
    approval = (await world.house.approval(await world.house.call(principal))).id
    link = await world.link(approval)
    before = await _events(world, principal)
    served = 0
    async with world.client() as http:
        for _ in range(LOOKS):
            for method in ("GET", "HEAD"):
                swapped = await http.request(method, f"/a/{link}")
                looked = await http.request(method, f"/a/{approval}")
                served += (swapped.status_code, looked.status_code) == (303, 200)
    moved = await _events(world, principal) - before
    row = (await world.house.db.read(sa.select(approvals).where(approvals.c.id == approval)))[0]
    holds = moved == 0 and row.status == "pending"
    sum_.say(f"changed_by_{LOOKS}_gets_and_heads_of_a_link", moved, holds=holds)
    sum_.say("of_them_swapped_and_shown", served, holds=served == 2 * LOOKS)
    await world.house.end(principal.execution_id, Cause.CANCELLED)


async def _events(world: World, principal: Principal) -> int:
    return len(await events.read(world.house.db, ACCOUNT, principal.stream))


async def ask_all(world: World, principals: Sequence[Principal]) -> list[str]:
    return [await world.house.call(who, amount=n) for who in principals for n in range(CALLS)]


async def enrolled(world: World) -> list[Principal]:
    """Agents of one flow's charter, as many as it takes to have 100 calls open within the bounds of each."""
    template = await world.house.gated(on_decline="continue")
    await world.house.end(template.execution_id, Cause.CANCELLED)
    return [await world.house.enroll(template, f"agent:{n}") for n in range(SESSIONS)]


async def restart(folder: Path, url: str | None, sum_: Sum) -> None:
    """A hundred calls wait, the plane goes and comes back, every client calls again."""
    async with open_world(folder, url=url) as world:
        principals = await enrolled(world)
        asked = await ask_all(world, principals)
    async with open_world(folder, url=url) as world:
        again = await ask_all(world, principals)
        same = sum(a == b for a, b in zip(asked, again, strict=True))
        sum_.say("calls_that_found_their_row_after_a_restart", same, holds=same == len(asked))
        once = 0
        for number, call in enumerate(asked):
            principal = principals[number // CALLS]
            await world.house.decide(call)
            once += sum([await world.house.claim(principal, call) for _ in range(2)])
            await world.house.settle(call)
        count = sa.select(sa.func.count()).select_from(tool_calls).where(tool_calls.c.id.in_(asked))
        rows = (await world.house.db.read(count))[0][0]
        sum_.say("calls_sent_once_after_a_restart", once, holds=(once, rows) == (len(asked), len(asked)))
        whole = [await events.verify(world.house.db, ACCOUNT, one.stream) for one in principals]
        sum_.say("streams_whole_afterwards", whole.count(None), holds=whole.count(None) == len(whole))


async def shown(database: str, url: str | None, rounds: int) -> bool:
    sum_ = Sum(database)
    with tempfile.TemporaryDirectory() as folder:
        async with open_world(Path(folder), url=url) as world:
            await duels(world, sum_, rounds)
            await senders(world, sum_)
            await looks(world, sum_)
        await restart(Path(folder), url, sum_)
    return sum_.held


def main() -> int:
    short = "--short" in sys.argv[1:]
    rounds = SHORT_ROUNDS if short else ROUNDS
    observe.configure("error")
    if (programs := postgres()) is None:
        return 2
    with cluster(programs) as server:
        url = server.make_database("approvals")
        held = [anyio.run(shown, "sqlite", None, rounds), anyio.run(shown, "postgresql", url, rounds)]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
