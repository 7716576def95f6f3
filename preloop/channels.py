"""The ways a notice reaches an approver: the console, mail, Slack-compatible and signed webhooks, ntfy, apprise.

A notice names tool, flow and deadline and carries one link, or the page's address for people who sign in; never an
argument. A channel that says no for good raises
Refused, one that may say yes later Unavailable.
"""

import json
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy.engine import Row

from control import outbox
from control.approvals import notices
from control.approvals.directory import Directory
from control.approvals.notices import Notice
from control.executions import ended
from kit import mail, webhooks
from kit.clock import Clock
from kit.db import Database
from kit.errors import Refused, Unavailable
from kit.mail import MailServer
from kit.outbound import Answer, Outbound
from preloop import apprised
from preloop.house import House
from preloop.notify_settings import (
    CONSOLE,
    AppriseChannel,
    Channel,
    NtfyChannel,
    SlackChannel,
    SmtpChannel,
    WebhookChannel,
)
from preloop.sending import Send, Tell
from preloop.show import clean
from web import costs

JSON = {"content-type": "application/json"}
LATER = frozenset({408, 425, 429})
"""Of the 4xx, those that another attempt may not get."""
SIGN_IN = "Sign in to decide"
TITLES = {
    notices.REQUESTED: "Approval needed",
    notices.REMINDED: "Reminder: approval needed",
    notices.ESCALATED: "Nobody decided yet: approval needed",
}


def open_channels(house: House) -> dict[str, Send]:
    """Every channel by its name in preloop.toml, and the console."""

    async def console(notice: Notice) -> None:
        house.console(notice)

    directory = house.settings.directory()
    found: dict[str, Send] = {CONSOLE: console}
    for name, channel in house.settings.notify.channels.items():
        found[name] = sender(channel, house.outbound, directory)
    return found


def sender(channel: Channel, outbound: Outbound, directory: Directory) -> Send:
    """What delivers over one configured channel."""
    if isinstance(channel, SmtpChannel):
        return _smtp(channel, outbound, directory)
    if isinstance(channel, SlackChannel):
        return _slack(channel, outbound)
    if isinstance(channel, AppriseChannel):
        return _apprise(channel, outbound)
    return _ntfy(channel, outbound) if isinstance(channel, NtfyChannel) else _webhook(channel, outbound)


def title(notice: Notice) -> str:
    return f"{TITLES[notice.topic]}: {_plain(notice.data['tool'])}"


def sentence(notice: Notice) -> str:
    """What is asked, and until when."""
    data = notice.data
    until = datetime.fromisoformat(data["expires_at"])
    asks = f"{asker(notice)} asks to run {_plain(data['tool'])} on {_plain(data['server'])}."
    risk = " This is marked as high risk." if data.get("risk") == "high" else ""
    return f"{asks}{risk} Decide before {until:%Y-%m-%d %H:%M} UTC; after that it counts as declined."


def asker(notice: Notice) -> str:
    """The flow's name, or in words that it is an enrolled agent, behind which there is no flow and no trigger."""
    if flow := notice.data["flow"]:
        return _plain(flow)
    return f"The enrolled agent {_plain(notice.data['agent']).removeprefix('agent:')} (no flow, no trigger)"


def way(notice: Notice) -> str:
    """How to get to the decision, as a line of text."""
    return notice.link or f"{SIGN_IN}: {notice.page}"


def _plain(text: object) -> str:
    """A name that an upstream chose, on one line and without what turns or hides text."""
    return " ".join(clean(str(text)).split())[:200]


def open_ends(house: House) -> dict[str, Tell]:
    """The channels that can be told of an execution's end: signed webhooks."""
    known, url = house.settings.notify.channels.items(), house.settings.server.url
    return {
        name: end_sender(one, house.outbound, house.db, url) for name, one in known if isinstance(one, WebhookChannel)
    }


def end_sender(channel: WebhookChannel, outbound: Outbound, db: Database, public_url: str) -> Tell:
    """What tells one webhook of an execution's end. Each attempt has the same id."""

    async def tell(row: Row[Any]) -> None:
        execution_id = outbox.payload(row)["execution_id"]
        paid = await costs.of_executions(db, row.account_id, [execution_id])
        said = ended.said(row, public_url, paid.get(execution_id, costs.NOTHING).usd)
        await _post(channel, outbound, row.id, said)

    return tell


def _webhook(channel: WebhookChannel, outbound: Outbound) -> Send:
    async def post(notice: Notice) -> None:
        data = notice.data | {"link": notice.link, "page": notice.page}
        await _post(channel, outbound, notice.message_id, {"type": notice.topic, "data": data})

    return post


async def _post(channel: WebhookChannel, outbound: Outbound, message_id: str, said: object) -> None:
    """One signed webhook."""
    body, now = json.dumps(said).encode(), int(Clock().now().timestamp())
    signed = webhooks.sign(channel.secret.get_secret_value(), message_id=message_id, timestamp=now, body=body)
    _accepted(await outbound.post(channel.url, body=body, headers=JSON | signed), "webhook")


def _slack(channel: SlackChannel, outbound: Outbound) -> Send:
    async def post(notice: Notice) -> None:
        to = f"<{notice.link}|Look and decide>" if notice.link else f"<{notice.page}|{SIGN_IN}>"
        text = f"*{_escaped(title(notice))}*\n{_escaped(sentence(notice))}\n{to}"
        body = json.dumps({"text": text, "unfurl_links": False, "unfurl_media": False}).encode()
        _accepted(await outbound.post(channel.url.get_secret_value(), body=body, headers=JSON), "Slack webhook")

    return post


def _escaped(text: str) -> str:
    """Slack's own three, and no emphasis out of a tool's name (api.slack.com/reference/surfaces/formatting)."""
    safe = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return safe.translate(str.maketrans("*~`", "∗∼'"))


def _ntfy(channel: NtfyChannel, outbound: Outbound) -> Send:
    address = urlsplit(channel.url.get_secret_value())
    root, topic = address._replace(path="/", query="").geturl(), address.path.strip("/")
    token = {"authorization": f"Bearer {channel.token.get_secret_value()}"} if channel.token else {}

    async def post(notice: Notice) -> None:
        urgent = 4 if notice.topic == notices.REQUESTED else 5
        message = sentence(notice) if notice.link else f"{sentence(notice)} {SIGN_IN}."
        told = {"topic": topic, "title": title(notice), "message": message, "priority": urgent}
        body = json.dumps(told | {"click": notice.link or notice.page, "tags": ["raised_hand"]}).encode()
        _accepted(await outbound.post(root, body=body, headers=JSON | token), "ntfy server")

    return post


def _apprise(channel: AppriseChannel, outbound: Outbound) -> Send:
    services = apprised.open_services([url.get_secret_value() for url in channel.urls])

    async def post(notice: Notice) -> None:
        text = f"{sentence(notice)}\n\n{way(notice)}\n"
        await apprised.send(services, outbound, title=title(notice), text=text)

    return post


def _smtp(channel: SmtpChannel, outbound: Outbound, directory: Directory) -> Send:
    server = MailServer(
        host=channel.host,
        port=channel.port,
        security=channel.security,
        sender=channel.sender,
        username=channel.username,
        password=channel.password.get_secret_value() if channel.password else None,
    )

    async def post(notice: Notice) -> None:
        approver = directory.approvers.get(notice.target)
        if approver is None or not approver.email:
            raise Refused("no_address", f"{notice.target} has no mail address.", "Set approvers.<id>.email.")
        end = f"\n{MAIL_END}\n" if notice.link else ""
        text = f"{sentence(notice)}\n\n{way(notice)}\n{end}"
        message = mail.compose(
            sender=channel.sender,
            to=approver.email,
            subject=title(notice),
            text=text,
            message_id=notice.message_id,
        )
        await mail.send(outbound, server, message)

    return post


MAIL_END = "The link is yours alone: whoever has it can decide in your name. Opening it decides nothing."


def _accepted(answer: Answer, what: str) -> None:
    if 200 <= answer.status < 300:
        return
    kind = Refused if 400 <= answer.status < 500 and answer.status not in LATER else Unavailable
    raise kind("notice_refused", f"The {what} answered {answer.status}.", "Look at [notify] in preloop.toml.")
