"""One session's share of the tool door: what is more is refused with a hint, and nobody else is kept waiting."""

import anyio
import httpx2

from control.identity.caps import Caps, Share
from control.identity.doorkeeper import Listener
from tests.mcp_server.plane import FREE, GATED, PAYMENT, Plane
from tests.mcp_server.test_resume import ACCEPT, STALE
from tests.serving import serving
from tests.waiting import until

LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
PAY = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "pay", "arguments": PAYMENT}}


def http(url: str, token: str) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        verify=False, base_url=url, headers=ACCEPT | {"Authorization": f"Bearer {token}"}, timeout=30
    )


def refused(answer: httpx2.Response) -> tuple[int, str, bool]:
    assert answer.headers["retry-after"] == "1"
    return answer.status_code, answer.json()["code"], bool(answer.json()["hint"])


async def test_a_session_has_no_more_open_than_its_share(house: Plane) -> None:
    (_, token), (_, other) = await house.enrolled(GATED), await house.enrolled(FREE)
    app = house.endpoint.app(
        Listener.PEOPLE, hosts=["127.0.0.1:*"], caps=Caps(Share(calls=1, streams=1, per_second=1000))
    )
    async with app.managers[0].run(), app.managers[1].run(), serving(app) as url:
        async with (
            http(url, token) as mine,
            http(url, other) as theirs,
            mine.stream("GET", "", headers=STALE) as listening,
            anyio.create_task_group() as tasks,
        ):
            assert listening.status_code == 200
            assert refused(await mine.get("", headers=STALE)) == (429, "too_many_streams", True)
            tasks.start_soon(lambda: mine.post("", json=PAY))
            [approval] = await house.pending()
            assert refused(await mine.post("", json=LIST)) == (429, "too_many_calls", True)
            assert (await theirs.post("", json=LIST)).status_code == 200
            await house.decide(approval)

        async def listed() -> bool:
            async with http(url, token) as again:
                return (await again.post("", json=LIST)).status_code == 200

        await until(listed, what="the place of a call that is over")


async def test_a_session_that_asks_too_often_is_told(house: Plane) -> None:
    _, token = await house.enrolled(FREE)
    app = house.endpoint.app(Listener.PEOPLE, hosts=["127.0.0.1:*"], caps=Caps(Share(per_second=1)))
    async with app.managers[0].run(), app.managers[1].run(), serving(app) as url, http(url, token) as mine:
        answers = [await mine.post("", json=LIST) for _ in range(4)]
    assert [answer.status_code for answer in answers[:2]] == [200, 200]
    assert refused(next(answer for answer in answers if answer.status_code != 200)) == (429, "too_often", True)
