"""Other systems are told when an execution ended: signed, once in the database with its end, again until it arrives."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from control import events
from control.executions import intake, queue
from control.executions.states import Cause
from control.flows import catalog, source
from control.tables import outbox
from kit import webhooks
from kit.errors import Invalid
from ledger import book
from ledger.book import Entry, Status
from ledger.prices import Usage
from preloop.channels import open_channels, open_ends
from preloop.house import House, open_house
from preloop.sending import Sender
from preloop.settings import load
from tests.fakes.sink import Sink, sink

SECRET = "whsec_c2VjcmV0c2VjcmV0c2VjcmV0"
ACCOUNT = "default"
FLOW = """
version: 1
name: report
agent: {runtime: scripted}
prompt: Say {{trigger_event.payload.secret}}
"""
PAYLOAD = {"secret": "only for the agent"}


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> str | None:
    return request.getfixturevalue("postgres_tables") if request.param == "postgres" else None


@asynccontextmanager
async def opened(folder: Path, database: str | None, kept: Sink) -> AsyncIterator[House]:
    """A house that tells two webhooks of each end, and has a third that it doesn't tell."""
    hooks = {name: {"type": "webhook", "url": f"{kept.url}/{name}", "secret": SECRET} for name in ("one", "two", "off")}
    notify = {"channels": hooks, "private_hosts": ["127.0.0.1"], "on_end": ["one", "two"]}
    server = {"public_url": "https://preloop.example.com"}
    settings = load(data=folder / "data", database=database, notify=notify, server=server)
    async with open_house(settings, lambda line: None, lambda notice: None) as house:
        written = source.read(FLOW)
        await house.db.write(lambda tx: catalog.apply(tx, ACCOUNT, written, sealer=house.sealer, by="test"))
        yield house


async def made(house: House) -> str:
    """A PENDING execution; its id."""
    start = intake.start
    started = await house.db.write(lambda tx: start(tx, ACCOUNT, "report", PAYLOAD, trigger="manual", by="test"))
    return started.execution_id


async def ended(house: House, cause: Cause | None, message: str = "") -> str:
    """An execution that was claimed, cost something and ended; its id."""
    id_ = await made(house)
    await house.db.write(lambda tx: queue.claim(tx, "worker"))

    def unit(tx: Any) -> None:
        names: dict[str, Any] = {
            "session_id": "ses_1",
            "principal": "flow:report",
            "alias": "default",
            "provider": "scripted",
        }
        more: dict[str, Any] = {
            "model": "scripted",
            "wire": "chat",
            "flow": "report",
            "status": Status.ANSWERED,
            "cost_source": "list",
        }
        own: dict[str, Any] = {
            "id": f"att_{id_}",
            "account_id": ACCOUNT,
            "execution_id": id_,
            "at": tx.now(),
            "total_ms": 1,
        }
        book.append(tx, [Entry(**own, **names, **more, usage=Usage(input=10), cost_nano=12_300_000, first_token_ms=1)])

    await house.db.write(unit)
    assert await house.db.write(lambda tx: house.lifecycle.end(tx, id_, cause, message=message))
    return id_


def messenger(house: House, **changes: Any) -> Sender:
    given: dict[str, Any] = {
        "channels": open_channels(house),
        "ends": open_ends(house),
        "public_url": house.settings.server.url,
    }
    return Sender(house.db, house.bus, desk=house.desk, **given | changes)


async def waiting(house: House) -> list[tuple[str, str, int]]:
    rows = await house.db.read(sa.select(outbox).order_by(outbox.c.channel))
    return [(row.channel, row.status, row.attempts) for row in rows]


async def test_each_end_is_told_once_to_each_webhook_signed_and_without_what_is_private(
    tmp_path: Path, database: str | None
) -> None:
    async with sink() as kept, opened(tmp_path, database, kept) as house:
        id_ = await ended(house, Cause.TOOL_FAILED, "Tool 'pay' failed: required argument 'amount' missing")
        await messenger(house).send_due()
        await messenger(house).send_due()
        assert sorted(kept.paths) == ["/one", "/two"]
        for body, headers in zip(kept.bodies, kept.headers, strict=True):
            said = {name: headers[f"webhook-{name}"] for name in ("timestamp", "signature")}
            webhooks.verify(SECRET, message_id=headers["webhook-id"], body=body, now=time.time(), **said)
            assert json.loads(body) == {
                "type": "execution.ended",
                "data": {
                    "execution_id": id_,
                    "flow": "report",
                    "state": "FAILED",
                    "cause": "tool_failed",
                    "message": "Tool 'pay' failed: required argument 'amount' missing",
                    "url": f"https://preloop.example.com/executions/{id_}",
                    "cost_usd": "0.0123",
                    "metered": True,
                },
            }
            assert PAYLOAD["secret"].encode() not in body
        record = [event.type for event in await events.read(house.db, ACCOUNT, id_)]
        assert record.count("webhook.sent") == 2
        assert await waiting(house) == [("one", "sent", 1), ("two", "sent", 1)]


@pytest.mark.parametrize(
    ("cause", "state"),
    [(None, "SUCCEEDED"), (Cause.TIMEOUT, "TIMEOUT"), (Cause.CANCELLED, "CANCELLED"), (Cause.KILLED, "FAILED")],
)
async def test_every_way_to_end_is_told(tmp_path: Path, cause: Cause | None, state: str) -> None:
    async with sink() as kept, opened(tmp_path, None, kept) as house:
        await ended(house, cause)
        await messenger(house).send_due()
        assert [json.loads(body)["data"]["state"] for body in kept.bodies] == [state, state]


async def test_what_did_not_arrive_is_sent_again_with_the_same_id(tmp_path: Path, database: str | None) -> None:
    async with sink() as kept, opened(tmp_path, database, kept) as house:
        id_ = await ended(house, None)
        kept.status = 503
        await messenger(house).send_due()
        assert await waiting(house) == [("one", "waiting", 1), ("two", "waiting", 1)]
        kept.status = 200
        past = sa.update(outbox).values(next_at=outbox.c.created_at)
        await house.db.write(lambda tx: tx.execute(past))
        await messenger(house).send_due()
        assert await waiting(house) == [("one", "sent", 2), ("two", "sent", 2)]
        for path in ("/one", "/two"):
            same = {kept.headers[n]["webhook-id"] for n, at in enumerate(kept.paths) if at == path}
            assert len(same) == 1
        failed = [event.data for event in await events.read(house.db, ACCOUNT, id_) if event.type == "webhook.failed"]
        assert [(one["attempt"], one["final"]) for one in failed] == [(1, False), (1, False)]
        assert await events.verify(house.db, ACCOUNT, id_) is None


async def test_what_is_refused_for_good_or_has_no_channel_any_more_is_not_sent_again(tmp_path: Path) -> None:
    async with sink() as kept, opened(tmp_path, None, kept) as house:
        id_ = await ended(house, None)
        kept.status = 410
        ends = open_ends(house)
        del ends["two"]
        await messenger(house, ends=ends).send_due()
        assert await waiting(house) == [("one", "failed", 1), ("two", "failed", 1)]
        failed = [event.data for event in await events.read(house.db, ACCOUNT, id_) if event.type == "webhook.failed"]
        assert {one["channel"]: one["error"] for one in failed} == {
            "one": "The webhook answered 410.",
            "two": "The channel 'two' is not in preloop.toml any more.",
        }


async def test_an_end_that_is_rolled_back_tells_nobody_and_a_final_one_is_told_once(
    tmp_path: Path, database: str | None
) -> None:
    async with sink() as kept, opened(tmp_path, database, kept) as house:
        id_ = await made(house)

        def broken(tx: Any) -> None:
            assert house.lifecycle.end(tx, id_, Cause.CANCELLED)
            raise KeyError("the unit is rolled back")

        with pytest.raises(KeyError):
            await house.db.write(broken)
        assert await waiting(house) == []
        ends = [await house.db.write(lambda tx: house.lifecycle.end(tx, id_, Cause.CANCELLED)) for _ in range(2)]
        assert ends == [True, False]
        assert await waiting(house) == [("one", "waiting", 0), ("two", "waiting", 0)]


@pytest.mark.parametrize("name", ["gone", "chat"])
def test_only_a_webhook_that_there_is_can_be_told_of_ends(tmp_path: Path, name: str) -> None:
    chat = {"type": "slack", "url": "https://hooks.slack.example/x"}
    with pytest.raises(Invalid, match=f"notify.on_end names {name}, which is no channel of type webhook"):
        load(data=tmp_path, notify={"channels": {"chat": chat}, "on_end": [name]})
