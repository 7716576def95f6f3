"""Whose trace an execution is in: the caller's, at every door where one can be made."""

import time

from control import events
from control.identity.principals import Role
from kit import webhooks
from tests.control.house import ACCOUNT
from tests.fakes import code_hosts as sent
from tests.web.test_code_hosts import TRIAGE, github, made
from tests.web.world import World, compact

THEIRS = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
PAYLOAD = {"amount": 1500, "recipient": "contractor@example.com"}


async def kept(world: World, execution_id: str) -> str | None:
    """What the first event of an execution says of its caller's trace."""
    first = (await events.read(world.house.db, ACCOUNT, execution_id))[0]
    return first.data.get("traceparent")


async def test_a_test_run_is_in_its_callers_trace_and_one_that_is_none_is_left_out(world: World) -> None:
    url = "/api/v1/flows/process-payment/executions"
    async with world.program(await world.token(Role.OPERATOR, "api")) as http:
        for header, wanted in ((THEIRS, THEIRS), ("00-nonsense", None), (None, None)):
            headers = {"traceparent": header} if header else {}
            answer = await http.post(url, json={"payload": PAYLOAD}, headers=headers)
            assert answer.status_code == 202
            assert await kept(world, answer.json()["execution_id"]) == wanted


async def test_a_webhook_is_in_its_senders_trace_and_its_event_says_nothing_of_it(world: World) -> None:
    body = compact(PAYLOAD)
    signed = webhooks.sign(await world.hook_secret(), message_id="msg_1", timestamp=int(time.time()), body=body)
    async with world.client(traceparent=THEIRS) as http:
        answer = await http.post("/hooks/flows/process-payment", content=body, headers=signed)
    execution_id = answer.json()["execution_id"]
    assert await kept(world, execution_id) == THEIRS
    assert THEIRS not in (await world.house.row(execution_id)).trigger_event


async def test_a_code_hosts_delivery_may_have_one_too(world: World) -> None:
    await world.house.apply(TRIAGE)
    secret = await made(world)
    answer = await github(world, secret, sent.issue(), traceparent=THEIRS)
    assert await kept(world, answer.json()["execution_id"]) == THEIRS
