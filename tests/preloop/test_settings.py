"""`preloop settings`: each value with where it came from, and never a secret."""

from pathlib import Path

import pytest

from control.identity.principals import Role
from preloop.in_force import told
from preloop.settings import load
from tests.preloop.terminal import Desk, Terminal

SECRETS = (
    "sk-the-models-key",
    "the-tools-header",
    "whsec_dGhlIGhvb2tzIHNlY3JldCBpcyBsb25n",
    "pg-password",
    "user:pass",
)
FILE = """
[server]
port = 9001
max_pending = 7
[models.default]
provider = "openai"
model = "gpt-4o"
api_key = "sk-the-models-key"
[servers.payments]
url = "https://user:pass@payments.example/mcp"
headers = {authorization = "the-tools-header"}
[approvers.alice]
name = "Alice"
[notify.channels.hook]
type = "webhook"
url = "https://hook.example/in"
secret = "whsec_dGhlIGhvb2tzIHNlY3JldCBpcyBsb25n"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "preloop.toml"
    path.write_text(FILE)
    return path


def test_each_value_says_where_it_came_from(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRELOOP_SERVER__PORT", "9002")
    monkeypatch.setenv("PRELOOP_PUBLIC_URL", "https://plane.example")
    settings = load(config=file, data=file.parent / "data")
    flagged = settings.model_copy(update={"server": settings.server.model_copy(update={"container_port": 9003})})
    found = {each.key: (each.value, each.source) for each in told(flagged)}
    assert found["server.port"] == (9002, "environment")
    assert found["server.public_url"] == ("https://plane.example", "environment")
    assert found["server.max_pending"] == (7, "file")
    assert found["server.container_port"] == (9003, "flag")
    assert found["server.host"] == ("127.0.0.1", "default")
    assert found["data"][1] == "flag"
    assert found["approvers.alice.name"] == ("Alice", "file")
    assert found["approvers.alice.email"] == ("", "default")
    assert found["models.default.upstreams"][1] == "file"
    assert found["models.default.retries"][1] == "default"
    assert found["runner.engine"][1] == "default"


def test_no_secret_is_in_what_is_shown(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRELOOP_DATABASE", "postgresql+asyncpg://preloop:pg-password@db/preloop")
    shown = repr(told(load(config=file)))
    assert [secret for secret in SECRETS if secret in shown] == []
    assert "payments.example" in shown and "hook.example" in shown


async def test_without_a_plane_it_is_what_one_would_start_with(file: Path) -> None:
    here = Terminal(folder=file.parent)
    done = await here.run("settings")
    assert (done.code, "No control plane runs here" in done.err) == (0, True)
    assert [line.split() for line in done.out.splitlines() if line.startswith("server.port")] == [
        ["server.port", "9001", "file"]
    ]
    assert not [secret for secret in SECRETS if secret in done.out + done.err]
    assert (await here.run("settings", "--json")).json["account"] is None


async def test_a_plane_tells_its_own_and_an_admin_changes_the_account_s(desk: Desk) -> None:
    done = await desk.admin.run(
        *("settings", "--set", "plan=starter", "--set", "time_zone=Asia/Tokyo", "--json"),
        *("--set", "retention.logs_days=30", "--set", "retention.keep=forever"),
    )
    account = done.json["account"]
    assert (account["plan"], account["time_zone"], account["retention"]["logs_days"]) == ("starter", "Asia/Tokyo", 30)
    assert account["retention"]["chosen"] == ["keep", "logs_days"]
    text = (await desk.admin.run("settings")).out
    assert "Asia/Tokyo" in text and "30 days (set here)" in text and "0 B of 10.0 GB" in text


async def test_who_may_not_and_what_makes_no_sense_have_their_exit_codes(desk: Desk) -> None:
    assert (await (await desk.of(Role.OPERATOR)).run("settings")).code == 3
    assert (await desk.admin.run("settings", "--set", "plan=golden")).code == 2
    assert (await desk.admin.run("settings", "--set", "retention=3")).code == 2
    assert (await desk.admin.at(url="http://127.0.0.1:9").run("settings")).code == 4
