"""Webhooks in: proven senders start executions, everybody else learns nothing."""

import time
from typing import Any

import httpx
import pytest

from kit import webhooks
from tests.web.world import World, compact

PAYLOAD = {"amount": 1500, "recipient": "contractor@example.com"}
PATH = "/hooks/flows/process-payment"


async def send(
    world: World,
    body: bytes,
    headers: dict[str, Any] | None = None,
    *,
    secret: str = "",
    path: str = PATH,
    **signed: Any,
) -> httpx.Response:
    """Sign and post; `headers` replace what the signature made."""
    secret = secret or await world.hook_secret()
    given: dict[str, Any] = {"message_id": "msg_1", "timestamp": int(time.time())} | signed
    made = webhooks.sign(secret, body=body, **given)
    async with world.program() as http:
        return await http.post(path, content=body, headers=made | (headers or {}))


async def test_a_signed_event_becomes_an_execution(world: World) -> None:
    answer = await send(world, compact(PAYLOAD))
    assert answer.status_code == 202
    id_ = answer.json()["execution_id"]
    assert answer.json() == {"execution_id": id_, "url": f"http://127.0.0.1:8080/executions/{id_}"}
    assert await world.state(id_) == "PENDING"
    assert "send 1500 USD to contractor@example.com" in (await world.house.row(id_)).prompt


async def test_a_delivery_that_comes_again_makes_no_second_execution(world: World) -> None:
    first, again, other = [await send(world, compact(PAYLOAD), message_id=id_) for id_ in ("msg_1", "msg_1", "msg_2")]
    assert first.json() == again.json()
    assert other.json() != first.json()


async def test_a_bearer_secret_does_for_senders_that_can_not_sign(world: World) -> None:
    async with world.program(await world.hook_secret()) as http:
        assert (await http.post(PATH, json=PAYLOAD)).status_code == 202
    async with world.program("whsec_wrong") as http:
        assert (await http.post(PATH, json=PAYLOAD)).status_code == 401


async def test_an_unknown_flow_and_a_wrong_signature_get_the_same_answer(world: World) -> None:
    wrong = "whsec_" + "A" * 43 + "="
    answers = [
        await send(world, b"{}", secret=wrong),
        await send(world, b"{}", path="/hooks/flows/no-such-flow"),
        await send(world, b"{}", timestamp=int(time.time()) - 301),
        await send(world, b"{}", timestamp=int(time.time()) + 301),
        await send(world, b"{}", message_id=""),
        await send(world, b"{}", {"webhook-signature": "v1,"}),
        await send(world, b"{}", {"webhook-timestamp": "soon"}),
        await send(world, b"{}", {"webhook-timestamp": b"\xb2"}),
    ]
    async with world.program() as http:
        answers.append(await http.post(PATH, content=b"not json"))
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.text for answer in answers}) == 1


async def test_one_right_signature_among_several_is_enough(world: World) -> None:
    body, now = compact(PAYLOAD), int(time.time())
    right = webhooks.sign(await world.hook_secret(), message_id="m", timestamp=now, body=body)["webhook-signature"]
    assert (
        await send(world, body, {"webhook-signature": f"v1,AAAA v1a,x {right}"}, timestamp=now, message_id="m")
    ).status_code == 202


@pytest.mark.parametrize("body", [b"amount=5", b"", b'{"a": 1, "a": 2}', b'{"a": NaN}', b"\xff\xfe", b"[" * 5000])
async def test_what_is_not_json_is_told_only_to_who_knows_the_secret(world: World, body: bytes) -> None:
    answer = await send(world, body)
    assert answer.status_code == 422
    assert answer.json()["code"] == "payload_invalid"
    assert answer.json()["hint"]


async def test_a_flow_without_a_webhook_trigger_is_not_started_by_one(world: World) -> None:
    source = "version: 1\nname: by-hand\nagent: {runtime: scripted}\nprompt: hello\n"
    await world.house.apply(source)
    answer = await send(world, b"{}", secret=await world.hook_secret("by-hand"), path="/hooks/flows/by-hand")
    assert (answer.status_code, answer.json()["code"]) == (422, "trigger_missing")


async def test_a_body_that_is_too_large_is_refused(world: World) -> None:
    answer = await send(world, b'"' + b"x" * (1 << 20) + b'"')
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


@pytest.mark.parametrize("sender", ["github", "gitlab"])
async def test_senders_that_are_not_built_yet_are_refused_by_name(world: World, sender: str) -> None:
    async with world.program() as http:
        answer = await http.post(f"/hooks/{sender}", content=b"{}")
    assert (answer.status_code, answer.json()["code"]) == (501, "not_supported_yet")
