"""The optional channel: apprise over real sockets, what it refuses, and what it says when it isn't there."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.routing import Route

from kit.errors import Invalid, Refused, Unavailable
from kit.outbound import Outbound
from preloop.channels import sender
from preloop.notify_settings import AppriseChannel
from preloop.sending import Send
from preloop.settings import load
from tests.fakes.sink import Sink, sink
from tests.preloop.test_channels import LINK, PEOPLE, notice, outbound  # noqa: F401 - a fixture
from tests.serving import serving


@pytest.fixture
async def kept() -> AsyncIterator[Sink]:
    async with sink() as running:
        yield running


def apprise(outbound: Outbound, *urls: str) -> Send:  # noqa: F811
    channel = AppriseChannel(type="apprise", urls=tuple(map(SecretStr, urls)))
    return sender(channel, outbound, PEOPLE)


def address(url: str, path: str = "") -> str:
    return url.replace("http://", "json://") + path


async def test_apprise_carries_the_same_words_and_one_link(outbound: Outbound, kept: Sink) -> None:  # noqa: F811
    await apprise(outbound, address(kept.url, "/team"))(notice())
    told = kept.json
    assert (kept.paths, told["title"]) == (["/team"], "Approval needed: pay")
    assert "process-payment asks to run pay on payments. Decide before 2026-11-22 12:00 UTC" in told["message"]
    assert told["message"].count(LINK) == 1


async def test_a_service_that_says_no_is_asked_again_later(outbound: Outbound, kept: Sink) -> None:  # noqa: F811
    kept.status = 500
    with pytest.raises(Unavailable, match="JSON by apprise"):
        await apprise(outbound, address(kept.url))(notice())


async def test_apprise_goes_to_no_private_address_that_nobody_named(kept: Sink) -> None:
    strict = Outbound()
    with pytest.raises(Refused, match="not a public address"):
        await apprise(strict, address(kept.url))(notice())
    await strict.close()
    assert kept.bodies == []


@pytest.mark.parametrize("asked", ["", "?redirect=yes"])
async def test_apprise_follows_no_redirect(outbound: Outbound, kept: Sink, asked: str) -> None:  # noqa: F811
    async def away(request: Request) -> RedirectResponse:
        return RedirectResponse(kept.url, 307)

    async with serving(Starlette(routes=[Route("/", away, methods=["POST"])])) as url:
        with pytest.raises(Unavailable):
            await apprise(outbound, address(url, "/" + asked))(notice())
    assert kept.bodies == []


def test_an_address_that_apprise_does_not_know_is_found_at_the_start() -> None:
    with pytest.raises(Invalid, match=r"Address 1 of an apprise channel \(pager://…\)") as found:
        apprise(Outbound(), "pager://hunter2@example.com")
    assert "hunter2" not in str(found.value)


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(Invalid, match="apprise is not installed") as found:
        apprise(Outbound(), "json://example.com")
    assert "make extras" in found.value.hint


def test_addresses_of_apprise_are_secrets(tmp_path: Path) -> None:
    path = tmp_path / "preloop.toml"
    path.write_text('[notify.channels.team]\ntype = "apprise"\nurls = ["json://me:hunter2@example.com"]\n')
    assert "hunter2" not in load(config=path).model_dump_json()
