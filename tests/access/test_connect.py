"""The head of a CONNECT: one meaning or none. And whom a charter lets through."""

import base64
from dataclasses import replace

import pytest

from access import connect
from access.connect import Asked
from control.identity.charter import Charter
from kit.errors import Fault, Refused


def basic(text: str) -> str:
    return "Proxy-Authorization: Basic " + base64.b64encode(text.encode()).decode()


def head(target: str = "api.example.com:443", *headers: str, version: str = "HTTP/1.1") -> bytes:
    return "\r\n".join([f"CONNECT {target} {version}", *headers, "", ""]).encode("latin-1")


def test_host_port_and_token_are_read() -> None:
    asked = connect.read(head("API.Example.com:8443", "Host: other.example", basic("anybody:to:ken")))
    assert asked == Asked(host="api.example.com", port=8443, token="to:ken")


def test_without_credentials_there_is_no_token() -> None:
    assert connect.read(head(version="HTTP/1.0")).token == ""


@pytest.mark.parametrize(
    "target",
    [
        *(
            "api.example.com",
            "api.example.com:",
            "api.example.com:0",
            "api.example.com:65536",
            "api.example.com:443443",
        ),
        *(":443", ".example.com:443", "example.com.:443", "a..b:443", "-a.example:443", "a b:443", "a\tb:443"),
        *("[::1]:443", "[::ffff:10.0.0.1]:443", "http://api.example.com:443/", "/git/x", "*", "user@host:443"),
        *("api.example.com:443#x", "api.example.com%00:443", "api.example.com\x00:443", "ex\xe4mple.com:443", "a:+443"),
        *("a" * 254 + ":443", "a:443 b:443", "api.example.com:４４３".encode().decode("latin-1")),
    ],
)
def test_what_is_no_host_and_port_is_refused(target: str) -> None:
    with pytest.raises(Fault) as refused:
        connect.read(head(target))
    assert refused.value.code == "connect_invalid"


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        (["Content-Length: 5"], "connect_invalid"),
        (["Content-Length: 0", "Content-Length: 5"], "connect_invalid"),
        (["Transfer-Encoding: chunked"], "connect_invalid"),
        ([basic("a:one"), basic("a:two")], "connect_invalid"),
        ([basic("a:one"), "proxy-AUTHORIZATION: Basic YTp0"], "connect_invalid"),
        (["X: a\nProxy-Authorization: Basic YTp0"], "connect_invalid"),
        (["X: a\rProxy-Authorization: Basic YTp0"], "connect_invalid"),
        (["X: a", " folded"], "connect_invalid"),
        (["Host : a"], "connect_invalid"),
        (["no colon"], "connect_invalid"),
        (["X: \x00"], "connect_invalid"),
        (["X: \x7f"], "connect_invalid"),
        (["Y: " + "a" * connect.MOST], "connect_invalid"),
        (["Proxy-Authorization: Bearer abc"], "proxy_credentials"),
        (["Proxy-Authorization: Basic not/base64!"], "proxy_credentials"),
        (["Proxy-Authorization: Basic " + base64.b64encode(b"no-colon").decode()], "proxy_credentials"),
        (["Proxy-Authorization: Basic " + base64.b64encode(b"a:\xff").decode()], "proxy_credentials"),
    ],
)
def test_headers_with_two_meanings_are_refused(headers: list[str], code: str) -> None:
    with pytest.raises(Fault) as refused:
        connect.read(head("api.example.com:443", *headers))
    assert refused.value.code == code


@pytest.mark.parametrize(
    "raw",
    [
        b"GET http://api.example.com/ HTTP/1.1\r\n\r\n",
        b"connect api.example.com:443 HTTP/1.1\r\n\r\n",
        b"CONNECT api.example.com:443 HTTP/2\r\n\r\n",
        b"CONNECT api.example.com:443 HTTP/1.1\n\r\n\r\n",
        b"CONNECT api.example.com:443 HTTP/1.1\r\n",
        b"CONNECT  api.example.com:443 HTTP/1.1\r\n\r\n",
    ],
)
def test_another_request_line_is_refused(raw: bytes) -> None:
    with pytest.raises(Fault) as refused:
        connect.read(raw)
    assert refused.value.code == "connect_invalid"


SITES = ("api.example.com", "db.example.com:5432", "*.cdn.example", "*.gone.example")


@pytest.mark.parametrize(
    ("host", "port", "passes"),
    [
        ("api.example.com", 443, True),
        ("api.example.com", 80, False),
        ("api.example.com", 8443, False),
        ("db.example.com", 5432, True),
        ("db.example.com", 443, False),
        ("example.com", 443, False),
        ("xapi.example.com", 443, False),
        ("api.example.com.evil.org", 443, False),
        ("a.cdn.example", 443, True),
        ("a.b.cdn.example", 443, True),
        ("cdn.example", 443, False),
        ("evilcdn.example", 443, False),
        ("a.cdn.example", 80, False),
        ("a.gone.example", 443, False),  # an admin took the wildcard back
    ],
)
def test_a_charter_lets_through_what_it_lists(host: str, port: int, passes: bool) -> None:
    charter = Charter(flow="f", tools=(), models=(), egress=SITES)
    asked = Asked(host=host, port=port, token="t")
    if passes:
        connect.check(charter, asked, ["*.cdn.example"])
    else:
        with pytest.raises(Refused, match="does not list"):
            connect.check(charter, asked, ["*.cdn.example"])


def test_nothing_is_listed_unless_somebody_lists_it() -> None:
    charter = Charter(flow="f", tools=(), models=())
    with pytest.raises(Refused):
        connect.check(charter, Asked(host="api.example.com", port=443, token="t"), ["*.example.com"])


def test_open_is_every_host() -> None:
    charter = Charter(flow="f", tools=(), models=(), egress="open")
    asked = Asked(host="api.example.com", port=22, token="t")
    connect.check(charter, asked, [])
    with pytest.raises(Refused, match="does not list"):
        connect.check(replace(charter, egress=("api.example.com",)), asked, [])
