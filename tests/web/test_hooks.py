"""Webhooks in: proven senders start executions, everybody else learns nothing."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import sqlalchemy as sa

from control.executions.states import Cause
from control.identity.principals import Role
from control.tables import executions, flows
from kit import webhooks
from tests.web.world import FLOW, World, compact, open_world
from web.hooks import MAX_ID
from web.settings import WebSettings

PAYLOAD = {"amount": 1500, "recipient": "contractor@example.com"}
PATH = "/hooks/flows/process-payment"


async def rotate(world: World, **asked: Any) -> dict[str, Any]:
    async with world.program(await world.token(Role.OPERATOR, "api")) as http:
        answer = await http.post("/api/v1/flows/process-payment/webhook-secret", json=asked)
        assert answer.status_code == 201
        return dict(answer.json())


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


async def test_ids_that_differ_only_far_behind_are_two_deliveries(world: World) -> None:
    long = "p" * MAX_ID
    first, other, again = [
        await send(world, compact(PAYLOAD), message_id=id_) for id_ in (long + "A", long + "B", long + "A")
    ]
    assert first.json() == again.json()
    assert other.json() != first.json()


async def test_a_number_of_thousands_of_digits_is_refused_as_wrong(world: World) -> None:
    answer = await send(world, b'{"a": ' + b"9" * 5000 + b"}")
    assert (answer.status_code, answer.json()["code"]) == (422, "payload_invalid")


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_the_same_delivery_fifty_times_at_once_to_two_doors_is_one_execution(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = request.getfixturevalue("postgres_tables") if kind == "postgres" else None
    answers: list[httpx.Response] = []
    async with open_world(tmp_path, url=url) as one, open_world(tmp_path, url=url) as other:
        now, secret = int(time.time()), await one.hook_secret()

        async def deliver(world: World) -> None:
            answers.append(await send(world, compact(PAYLOAD), secret=secret, timestamp=now))

        async with anyio.create_task_group() as tasks:
            for number in range(50):
                tasks.start_soon(deliver, (one, other)[number % 2])
        assert {answer.status_code for answer in answers} == {202}
        [made] = {answer.json()["execution_id"] for answer in answers}
        assert [row.id for row in await other.house.db.read(sa.select(executions.c.id))] == [made]


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


async def test_two_secrets_are_good_for_a_day_after_a_rotation(world: World) -> None:
    old = await world.hook_secret()
    new = await rotate(world)
    assert new["secret"] != old
    assert new["before_until"] > "2026"
    answers = [await send(world, b"{}", secret=secret, message_id=secret[-9:]) for secret in (old, new["secret"])]
    async with world.program(old) as http:
        answers.append(await http.post(PATH, json={}))
    assert [answer.status_code for answer in answers] == [202, 202, 202]
    newest = await rotate(world)
    codes = [(await send(world, b"{}", secret=one)).status_code for one in (old, new["secret"], newest["secret"])]
    assert codes == [401, 202, 202]  # never three
    a_day = sa.update(flows).values(hook_before_until=datetime.now(UTC))
    await world.house.db.write(lambda tx: tx.execute(a_day))
    codes = [(await send(world, b"{}", secret=one)).status_code for one in (new["secret"], newest["secret"])]
    assert codes == [401, 202]


async def test_a_rotation_now_ends_the_old_secret_at_once(world: World) -> None:
    await rotate(world)
    old = await world.hook_secret()
    new = await rotate(world, now=True)
    assert new["before_until"] is None
    assert (await send(world, b"{}", secret=old)).status_code == 401
    assert (await send(world, b"{}", secret=new["secret"])).status_code == 202


async def test_a_trigger_takes_so_many_deliveries_and_then_says_when(tmp_path: Path) -> None:
    async with open_world(tmp_path, WebSettings(deliveries_per_minute=3)) as world:
        answers = [await send(world, b"{}", message_id=f"msg_{number}") for number in range(4)]
        assert [answer.status_code for answer in answers] == [202, 202, 202, 429]
        assert (answers[3].json()["code"], answers[3].headers["retry-after"]) == ("too_often", "20")
        await world.house.apply(FLOW.replace("process-payment", "other"))
        secret = await world.hook_secret("other")
        assert (await send(world, b"{}", secret=secret, path="/hooks/flows/other")).status_code == 202


async def test_a_full_queue_tells_the_sender_and_takes_the_delivery_later(tmp_path: Path) -> None:
    async with open_world(tmp_path, WebSettings(max_pending=2)) as world:
        answers = [await send(world, b"{}", message_id=f"msg_{number}") for number in range(3)]
        assert [answer.status_code for answer in answers] == [202, 202, 429]
        told = answers[2].json()
        assert told["code"] == "queue_full"
        assert "2 executions of the flow 'process-payment' that a webhook made are waiting" in told["detail"]
        assert answers[2].headers["retry-after"] == "60"
        assert (await send(world, b"{}", message_id="msg_1")).status_code == 202  # that one is there already
        await world.house.end(answers[0].json()["execution_id"], Cause.CANCELLED)
        assert (await send(world, b"{}", message_id="msg_2")).status_code == 202


async def test_whoever_is_refused_often_learns_no_more_about_flows(world: World) -> None:
    wrong = "whsec_" + "A" * 43 + "="

    async def until_throttled(path: str) -> list[httpx.Response]:
        answers = [await send(world, b"{}", secret=wrong, path=path)]
        while answers[-1].status_code == 401 and len(answers) < 300:
            answers.append(await send(world, b"{}", secret=wrong, path=path))
        return answers

    known, unknown = await until_throttled(PATH), await until_throttled("/hooks/flows/no-such-flow")
    for answers in (known, unknown):
        assert len(answers) > 60
        assert {answer.status_code for answer in answers[:60]} == {401}
        assert (answers[-1].status_code, answers[-1].headers["retry-after"]) == (429, "1")
    assert (known[0].text, known[-1].text) == (unknown[0].text, unknown[-1].text)
    assert (await send(world, b"{}")).status_code == 202  # who knows the secret is not kept waiting


async def test_a_delivery_resent_later_names_the_first(world: World) -> None:
    first = (await send(world, b"{}")).json()["execution_id"]
    await world.house.end(first, Cause.CANCELLED)
    ended = sa.update(executions).values(ended_at=datetime.now(UTC) - timedelta(minutes=11))
    await world.house.db.write(lambda tx: tx.execute(ended))
    again = (await send(world, b"{}")).json()["execution_id"]
    assert again != first
    async with world.program(await world.token(kind="api")) as http:
        told = (await http.get(f"/api/v1/executions/{again}")).json()
        assert (told["resends"], told["reruns"]) == (first, None)
    async with world.client(await world.token()) as http:
        assert f'href="/executions/{first}"' in (await http.get(f"/executions/{again}")).text


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
