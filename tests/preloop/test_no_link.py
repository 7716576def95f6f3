"""Notices of a request whose links were revoked: every channel says to sign in, and where."""

from kit.outbound import Outbound
from preloop.channels import sender, way
from tests.fakes.sink import Sink
from tests.fakes.smtp import mail_server
from tests.preloop.test_apprise import address, apprise
from tests.preloop.test_channels import PAGE, PEOPLE, channel, kept, notice, outbound, smtp  # noqa: F401 - fixtures


async def test_a_webhook_has_no_link_and_the_page(outbound: Outbound, kept: Sink) -> None:  # noqa: F811
    await sender(channel("webhook", kept.url), outbound, PEOPLE)(notice(link=None))
    assert (kept.json["data"]["link"], kept.json["data"]["page"]) == (None, PAGE)


async def test_slack_and_ntfy_lead_to_the_page(outbound: Outbound, kept: Sink) -> None:  # noqa: F811
    await sender(channel("slack", kept.url), outbound, PEOPLE)(notice(link=None))
    assert kept.json["text"].endswith(f"<{PAGE}|Sign in to decide>")
    await sender(channel("ntfy", kept.url), outbound, PEOPLE)(notice(link=None))
    assert (kept.json["click"], kept.json["message"].endswith("Sign in to decide.")) == (PAGE, True)


async def test_a_mail_does_not_call_the_address_a_secret(outbound: Outbound) -> None:  # noqa: F811
    async with mail_server() as box:
        await smtp(box, outbound)(notice(link=None))
    said = box.mails[0].get_content()
    assert said.rstrip().endswith(f"Sign in to decide: {PAGE}")
    assert "yours alone" not in said


async def test_apprise_and_the_console_say_it_in_a_line(outbound: Outbound, kept: Sink) -> None:  # noqa: F811
    await apprise(outbound, address(kept.url))(notice(link=None))
    assert kept.json["message"].rstrip().endswith(f"Sign in to decide: {PAGE}")
    assert way(notice(link=None)) == f"Sign in to decide: {PAGE}"
