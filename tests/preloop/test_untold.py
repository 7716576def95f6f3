"""Secrets that role `web` alone needs: one preloop.toml for all roles, and its secrets with that one."""

from pathlib import Path

import pytest

from kit.errors import Invalid
from preloop.roles import Role
from preloop.serve import plane
from preloop.settings import Settings, load

SECTIONS = """
[server]
port = 0
container_port = 0
[server.oidc]
issuer = "https://accounts.example.com"
client_id = "preloop"
[notify.channels.chat]
type = "slack"
[notify.channels.ci]
type = "webhook"
url = "https://ci.example.com/told"
[notify.channels.mail]
type = "smtp"
host = "mail.example.com"
sender = "preloop@example.com"
[notify.channels.topic]
type = "ntfy"
[notify.channels.more]
type = "apprise"
[approvers.alice]
name = "Alice"
email = "alice@example.com"
notify = ["chat", "mail"]
[runner]
engine = "process"
"""
SECRETS = {
    "server.oidc.client_secret": "s",
    "notify.channels.chat.url": "https://chat.example.com/hook",
    "notify.channels.ci.secret": "whsec_c2VjcmV0",
    "notify.channels.topic.url": "https://ntfy.example.com/a",
    "notify.channels.more.urls": '["json://localhost"]',
}


def settings(tmp_path: Path) -> Settings:
    (tmp_path / "preloop.toml").write_text(SECTIONS)
    return load(config=tmp_path / "preloop.toml", data=tmp_path / "data")


def test_each_is_named_until_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in SECRETS.items():
        assert key in list(settings(tmp_path).untold())
        monkeypatch.setenv(f"PRELOOP_{key.upper().replace('.', '__')}", value)
    assert list(settings(tmp_path).untold()) == []


async def test_role_web_does_not_start_without_and_the_others_do(tmp_path: Path) -> None:
    told = settings(tmp_path)
    with pytest.raises(Invalid, match=r"server\.oidc\.client_secret is not set"):
        async with plane(told, roles=frozenset({Role.WEB})):
            pass
    assert not told.data.exists()
    async with plane(told, roles=frozenset({Role.GATEWAY, Role.MCP})) as running:
        assert not running.sign_in
