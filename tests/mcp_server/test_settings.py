"""What `[servers.<name>]` may say."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from kit.errors import Invalid
from mcp_server.settings import McpSettings
from preloop.settings import load


def servers(**server: object) -> McpSettings:
    return McpSettings.model_validate({"servers": {"payments": server}})


def test_a_url_is_enough() -> None:
    server = servers(url="http://10.0.0.7:8090/mcp").servers["payments"]
    assert server.timeout == 60
    assert str(server.url) == "http://10.0.0.7:8090/mcp"


@pytest.mark.parametrize(("written", "seconds"), [("90s", 90), ("2m", 120), ("500ms", 0.5), (30, 30)])
def test_a_timeout_is_written_as_a_duration(written: object, seconds: float) -> None:
    assert servers(url="http://a.example/mcp", timeout=written).servers["payments"].timeout == seconds


def test_single_tools_may_take_longer() -> None:
    server = servers(url="http://a.example/mcp", timeouts={"report": "5m"}).servers["payments"]
    assert (server.timeout_of("report"), server.timeout_of("pay")) == (300, 60)


def test_headers_are_never_shown() -> None:
    settings = servers(url="http://a.example/mcp", headers={"Authorization": "Bearer s3cret"})
    assert "s3cret" not in repr(settings)
    assert settings.servers["payments"].headers["Authorization"].get_secret_value() == "Bearer s3cret"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({}, "url_or_command"),
        ({"url": "http://a.example/mcp", "command": ["npx", "server"]}, "url_or_command"),
        ({"command": ["npx"], "headers": {"a": "b"}}, "headers_without_url"),
        ({"url": "http://a.example/mcp", "env": {"A": "b"}}, "env_without_command"),
        ({"url": "http://a.example/mcp", "pin": {"pay": "abc"}}, "string_pattern_mismatch"),
        ({"url": "http://a.example/mcp", "colour": "red"}, "extra_forbidden"),
        ({"url": "http://a.example/mcp", "timeout": "soon"}, "duration"),
        ({"url": "ftp://a.example"}, "url_scheme"),
    ],
)
def test_what_is_not_known_or_not_built_is_refused_by_name(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        servers(**wrong)
    assert said in {error["type"] for error in refused.value.errors()}


def test_a_server_s_name_has_no_double_underscore() -> None:
    with pytest.raises(ValidationError):
        McpSettings.model_validate({"servers": {"a__b": {"url": "http://a.example/mcp"}}})


FILE = """
[servers.bank]
url = "http://a.example/mcp"
headers = {Authorization = "Bearer ${BANK_KEY}"}
[servers.local]
command = ["npx", "server"]
env = {API_KEY = "${BANK_KEY}", MODE = "test"}
"""


def test_credentials_come_from_the_environment_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "preloop.toml").write_text(FILE)
    monkeypatch.setenv("BANK_KEY", "s3cret")
    settings = load(config=tmp_path / "preloop.toml")
    servers = settings.opened_servers()
    assert servers["bank"].headers["Authorization"].get_secret_value() == "Bearer s3cret"
    assert servers["local"].env["API_KEY"].get_secret_value() == "s3cret"
    assert "s3cret" not in settings.model_dump_json()


def test_a_credential_that_is_not_set_is_named_to_whoever_dials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "preloop.toml").write_text(FILE)
    monkeypatch.delenv("BANK_KEY", raising=False)
    settings = load(config=tmp_path / "preloop.toml")
    with pytest.raises(Invalid, match=r"servers\.bank\.headers\.Authorization names the variable BANK_KEY"):
        settings.opened_servers()
