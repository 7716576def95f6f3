"""Notices over real sockets: what arrives, what never does, and which refusals are final."""

import json
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from control.approvals.directory import Approver, Directory
from control.approvals.notices import ESCALATED, REMINDED, REQUESTED, Notice
from control.tables import outbox
from kit import webhooks
from kit.clock import Clock
from kit.errors import Fault, Invalid, Refused, Unavailable
from kit.outbound import Outbound
from preloop.channels import sender
from preloop.notify_settings import Channel, NtfyChannel, SlackChannel, SmtpChannel, WebhookChannel
from preloop.sending import Send, Sender
from preloop.settings import load
from tests.control.house import House
from tests.fakes.sink import Sink, sink
from tests.fakes.smtp import MailBox, mail_server
from tests.web.world import World, open_world

ALICE = Approver(id="alice", name="Alice", email="alice@example.com", notify=("mail",))
PEOPLE = Directory(approvers={"alice": ALICE}, groups={"finance": ("alice",)})
SECRET = SecretStr("whsec_c2VjcmV0c2VjcmV0c2VjcmV0")
LINK = "https://preloop.example.com/a/apl_secret"
PAGE = "https://preloop.example.com/approvals/apr_1"


@pytest.fixture
async def outbound() -> AsyncIterator[Outbound]:
    made = Outbound(private_hosts=["127.0.0.1", "localhost"])
    yield made
    await made.close()


def notice(topic: str = REQUESTED, tool: str = "pay", link: str | None = LINK) -> Notice:
    data = {
        "approval_id": "apr_1",
        "execution_id": "exe_1",
        "flow": "process-payment",
        "server": "payments",
        "tool": tool,
        "approver": "alice",
        "expires_at": "2026-11-22T12:00:00Z",
    }
    return Notice(channel="x", target="alice", message_id="out_1", topic=topic, data=data, page=PAGE, link=link)


def smtp(box: MailBox, outbound: Outbound, **more: object) -> Send:
    given = {"type": "smtp", "host": "127.0.0.1", "port": box.port, "security": "none", "sender": "preloop@example.com"}
    return sender(SmtpChannel.model_validate(given | more), outbound, PEOPLE)


async def test_a_mail_names_tool_flow_and_deadline_and_carries_one_link(outbound: Outbound) -> None:
    async with mail_server() as box:
        await smtp(box, outbound, username="preloop", password="pw")(notice())
        await smtp(box, outbound)(notice(REMINDED))
    first, second = box.mails
    assert (first["To"], first["Subject"]) == ("alice@example.com", "Approval needed: pay")
    assert second["Subject"].startswith("Reminder")
    text = first.get_content()
    assert "process-payment asks to run pay on payments" in text
    assert "2026-11-22 12:00 UTC" in text
    assert text.count(LINK) == 1
    assert box.logins == [":preloop:pw"]


def certificate(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's TLS for `localhost` that nobody's authority has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]), Clock().now()
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(now).not_valid_after(now.replace(year=now.year + 1))
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    private = serialization.PrivateFormat.PKCS8
    path = folder / "tls.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, private, serialization.NoEncryption())
        + made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context, path


async def test_mail_is_encrypted_and_an_unknown_certificate_gets_none(
    outbound: Outbound, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, path = certificate(tmp_path)
    async with mail_server(context) as box:
        post = smtp(box, outbound, host="localhost", security="starttls")
        with pytest.raises(Unavailable):
            await post(notice())
        assert box.mails == []
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
        await post(notice())
    assert box.encrypted == [True]


async def test_a_server_without_encryption_gets_no_mail_in_clear(outbound: Outbound) -> None:
    async with mail_server() as box:
        with pytest.raises(Fault):
            await smtp(box, outbound, security="starttls")(notice())
    assert box.mails == []


@pytest.mark.parametrize(("answer", "fault"), [("550 no such user", Refused), ("451 later", Unavailable)])
async def test_a_mailbox_that_is_gone_is_final_and_a_full_one_is_not(
    outbound: Outbound, answer: str, fault: type[Fault]
) -> None:
    async with mail_server() as box:
        box.answer = answer
        with pytest.raises(fault, match=answer[:3]):
            await smtp(box, outbound)(notice())


async def test_a_tool_s_name_can_write_no_header_and_turn_no_text(outbound: Outbound) -> None:
    async with mail_server() as box:
        await smtp(box, outbound)(notice(tool="pay\r\nBcc: mallory@example.com\u202egnp"))
    assert box.mails[0]["Bcc"] is None
    assert box.recipients == ["alice@example.com"]
    assert "\u202e" not in box.mails[0].get_content() + box.mails[0]["Subject"]


# webhooks -------------------------------------------------------------------------------------------------------------


def channel(kind: str, url: str) -> Channel:
    if kind == "webhook":
        return WebhookChannel(type="webhook", url=url, secret=SECRET)
    if kind == "slack":
        return SlackChannel(type="slack", url=SecretStr(f"{url}/services/T0/B0/x"))
    return NtfyChannel(type="ntfy", url=SecretStr(f"{url}/approvals"), token=SecretStr("tk_x"))


@pytest.fixture
async def kept() -> AsyncIterator[Sink]:
    async with sink() as running:
        yield running


async def test_slack_gets_words_and_a_link_and_no_tool_s_markup(outbound: Outbound, kept: Sink) -> None:
    await sender(channel("slack", kept.url), outbound, PEOPLE)(notice(ESCALATED, tool="pay <!channel> *now*"))
    text = kept.json["text"]
    assert kept.paths == ["/services/T0/B0/x"]
    assert f"<{LINK}|Look and decide>" in text
    assert "&lt;!channel&gt;" in text
    assert "*now*" not in text
    assert kept.json["unfurl_links"] is False


async def test_ntfy_gets_its_topic_a_click_and_its_token(outbound: Outbound, kept: Sink) -> None:
    await sender(channel("ntfy", kept.url), outbound, PEOPLE)(notice())
    told = kept.json
    assert (kept.paths, told["topic"], told["click"]) == (["/"], "approvals", LINK)
    assert told["title"] == "Approval needed: pay"
    assert kept.headers[0]["authorization"] == "Bearer tk_x"


async def test_a_webhook_is_signed_as_standard_webhooks_are(outbound: Outbound, kept: Sink) -> None:
    await sender(channel("webhook", kept.url), outbound, PEOPLE)(notice())
    headers = kept.headers[0]
    webhooks.verify(
        SECRET.get_secret_value(),
        message_id=headers["webhook-id"],
        timestamp=headers["webhook-timestamp"],
        signature=headers["webhook-signature"],
        body=kept.bodies[0],
        now=time.time(),
    )
    assert (kept.json["type"], kept.json["data"]["link"]) == ("approval.requested", LINK)


@pytest.mark.parametrize("kind", ["webhook", "slack", "ntfy"])
@pytest.mark.parametrize(("status", "fault"), [(404, Refused), (429, Unavailable), (503, Unavailable)])
async def test_which_answers_are_final(
    outbound: Outbound, kept: Sink, kind: str, status: int, fault: type[Fault]
) -> None:
    kept.status = status
    with pytest.raises(fault, match=str(status)):
        await sender(channel(kind, kept.url), outbound, PEOPLE)(notice())


@pytest.mark.parametrize("kind", ["webhook", "slack", "ntfy", "smtp"])
async def test_a_private_address_that_nobody_named_gets_nothing(kept: Sink, kind: str) -> None:
    strict = Outbound()
    async with mail_server() as box:
        post = smtp(box, strict) if kind == "smtp" else sender(channel(kind, kept.url), strict, PEOPLE)
        with pytest.raises(Refused, match="not a public address"):
            await post(notice())
    await strict.close()
    assert (kept.bodies, box.mails) == ([], [])


# the sender -----------------------------------------------------------------------------------------------------------


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path) as opened:
        yield opened


def opened(house: House, channels: dict[str, Send]) -> Sender:
    return Sender(house.db, house.bus, desk=house.desk, channels=channels, public_url="http://p")


async def test_no_notice_holds_an_argument_and_every_link_is_its_own(
    world: World, outbound: Outbound, kept: Sink
) -> None:
    await world.house.call(await world.house.running(), amount=1500, recipient="contractor@example.com")
    send = sender(channel("webhook", kept.url), outbound, world.house.desk.directory)
    await opened(world.house, {"console": send}).send_due()
    links = {sink_body["data"]["link"] for sink_body in map(_json, kept.bodies)}
    assert len(links) == 2
    assert not any(b"1500" in body or b"contractor" in body for body in kept.bodies)


async def test_a_notice_of_an_enrolled_agent_says_so_and_names_no_flow(
    world: World, outbound: Outbound, kept: Sink
) -> None:
    agent = await world.house.enroll(await world.house.gated(), name="agent:night-clerk")
    await world.house.call(agent)
    for kind in ("webhook", "slack"):
        send = sender(channel(kind, kept.url), outbound, world.house.desk.directory)
        await opened(world.house, {"console": send}).send_due()
        await world.house.call(agent, amount=7)
    told = json.loads(kept.bodies[0])["data"]
    assert (told["flow"], told["agent"]) == (None, "agent:night-clerk")
    assert "The enrolled agent night-clerk (no flow, no trigger) asks to run pay on payments." in kept.json["text"]


def _json(body: bytes) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = json.loads(body)
    return found


async def test_channels_that_say_no_for_good_end_the_run_at_once(world: World, outbound: Outbound, kept: Sink) -> None:
    kept.status = 410
    principal = await world.house.running()
    await world.house.call(principal)
    send = sender(channel("slack", kept.url), outbound, world.house.desk.directory)
    await opened(world.house, {"console": send}).send_due()
    row = await world.house.row(principal.execution_id)
    assert (row.state, row.cause) == ("FAILED", "approver_unreachable")
    assert {row.attempts for row in await world.house.db.read(sa.select(outbox))} == {1}


async def test_a_channel_that_is_not_configured_any_more_is_final(world: World) -> None:
    principal = await world.house.running()
    await world.house.call(principal)
    await opened(world.house, {}).send_due()
    assert (await world.house.row(principal.execution_id)).cause == "approver_unreachable"


# settings -------------------------------------------------------------------------------------------------------------

MAIL = '[notify.channels.mail]\ntype = "smtp"\nhost = "mail.example.com"\nsender = "preloop@example.com"\n'


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ('[notify.channels.x]\ntype = "pager"\n', "pager"),
        ('[notify.channels.x]\ntype = "slack"\nurl = "hooks.slack.com"\n', "not an http address"),
        (MAIL + '[approvers.alice]\nname = "Alice"\nnotify = ["mail"]\n', "needs an email"),
        ('[approvers.alice]\nname = "Alice"\nnotify = ["mail"]\n', "no such channel"),
    ],
)
def test_a_channel_nobody_could_use_is_found_at_the_start(tmp_path: Path, text: str, wrong: str) -> None:
    path = tmp_path / "preloop.toml"
    path.write_text(text)
    with pytest.raises(Invalid, match=wrong):
        load(config=path)


def test_secrets_of_channels_are_not_printed(tmp_path: Path) -> None:
    path = tmp_path / "preloop.toml"
    path.write_text(
        MAIL + 'password = "hunter2"\n[notify.channels.s]\ntype = "slack"\nurl = "https://hooks.example.com/hunter2"\n'
    )
    assert "hunter2" not in load(config=path).model_dump_json()
