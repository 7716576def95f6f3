"""The layers alone, around a small application."""

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from kit import asgi
from kit.errors import Conflict, Unauthorized


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers, or raises what the path says."""
    path = scope["path"]
    if path == "/fault":
        raise Conflict("taken", "Somebody was first.", "Look again.")
    if path == "/who":
        raise Unauthorized("who", "Who are you?")
    if path == "/bug":
        raise ZeroDivisionError("secret detail")
    await PlainTextResponse(f"{Request(scope).method} {path}")(scope, receive, send)


def client(app: ASGIApp, host: str = "preloop.test:8080") -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=f"http://{host}")


@pytest.mark.parametrize("host", ["preloop.test", "PRELOOP.test:99", "[::1]:8080", "127.0.0.1"])
async def test_our_own_names_are_answered_on_any_port(host: str) -> None:
    app = asgi.Hosts(echo, allowed={"preloop.test", "::1", "127.0.0.1"})
    async with client(app) as http:
        assert (await http.get("/", headers={"host": host})).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "preloop.test.evil.example", "", "[", "a@preloop.test:1x"])
async def test_another_name_is_421_and_says_what_to_set(host: str) -> None:
    async with client(asgi.Hosts(echo, allowed={"preloop.test"})) as http:
        answer = await http.get("/", headers={"host": host})
    assert answer.status_code == 421
    assert "PRELOOP_PUBLIC_URL" in answer.json()["hint"]


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_probes_come_by_address(path: str) -> None:
    async with client(asgi.Hosts(echo, allowed={"preloop.test"})) as http:
        assert (await http.get(path, headers={"host": "10.0.0.5:8080"})).status_code == 200
        assert (await http.get(f"{path}/more", headers={"host": "10.0.0.5:8080"})).status_code == 421


@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        ({}, True),  # a program
        ({"cookie": "preloop=x"}, False),  # holds a cookie and doesn't say where it comes from
        ({"origin": "http://preloop.test:8080", "cookie": "preloop=x"}, True),
        ({"origin": "http://preloop.test:9999"}, False),
        ({"origin": "https://evil.example"}, False),
        ({"origin": "null", "cookie": "preloop=x"}, False),
        ({"sec-fetch-site": "same-origin", "cookie": "preloop=x"}, True),
        ({"sec-fetch-site": "same-site", "cookie": "preloop=x"}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "cross-site", "origin": "http://preloop.test:8080"}, False),
    ],
)
async def test_a_change_comes_from_our_own_page_or_from_a_program(headers: dict[str, str], passes: bool) -> None:
    async with client(asgi.Faults(asgi.SameOrigin(echo))) as http:
        assert (await http.post("/", headers=headers)).status_code == (200 if passes else 403)
        assert (await http.get("/", headers=headers)).status_code == 200


async def test_a_fault_is_a_problem_with_code_and_hint() -> None:
    async with client(asgi.Faults(echo)) as http:
        answer = await http.get("/fault")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {
        "type": "about:blank",
        "title": "Conflict",
        "detail": "Somebody was first.",
        "status": 409,
        "code": "taken",
        "hint": "Look again.",
    }


async def test_who_is_unknown_is_told_how_to_ask() -> None:
    async with client(asgi.Faults(echo)) as http:
        assert (await http.get("/who")).headers["www-authenticate"] == "Bearer"


async def test_a_bug_tells_its_number_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    async with client(asgi.Requests(asgi.Faults(echo))) as http:
        answer = await http.get("/bug")
    assert answer.status_code == 500
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert "secret detail" not in answer.text
    assert "secret detail" in capsys.readouterr().out


async def test_an_access_line_has_no_query_and_only_the_shown_path(capsys: pytest.CaptureFixture[str]) -> None:
    app = asgi.Requests(echo, shown=lambda path: "/a/…" if path.startswith("/a/") else path)
    async with client(app) as http:
        await http.post("/a/sesame?also=secret")
    written = capsys.readouterr().out
    assert "/a/…" in written
    assert "sesame" not in written
    assert "secret" not in written


async def test_headers_of_the_answer_itself_win() -> None:
    async def own(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("x", headers={"cache-control": "public"})(scope, receive, send)

    async with client(asgi.Headers(own, asgi.PAGE_HEADERS)) as http:
        headers = (await http.get("/")).headers
    assert headers["cache-control"] == "public"
    assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
    assert "unsafe" not in headers["content-security-policy"]
