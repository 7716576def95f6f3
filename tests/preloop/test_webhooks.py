"""`preloop webhooks`: new secrets for flows and senders; `preloop flows show` says when schedules fire."""

from control.identity.principals import Role
from tests.preloop.terminal import Desk

OWN = "whsec_dGVzdHRlc3R0ZXN0dGVzdHRlc3R0ZXN0dGVzdHRlc3Q="
DAILY = """
version: 1
name: report
agent: {runtime: scripted, model: default}
triggers: [{type: schedule, cron: "0 9 * * *"}]
prompt: Report.
"""


async def test_a_flow_s_secret_is_rotated_with_a_day_s_grace_or_at_once(desk: Desk) -> None:
    rotated = (await desk.admin.run("webhooks", "rotate", "process-payment", "--json")).json
    assert rotated["url"].endswith("/hooks/flows/process-payment")
    assert rotated["secret"] == await desk.world.hook_secret()
    assert rotated["before_until"]
    at_once = (await desk.admin.run("webhooks", "rotate", "process-payment", "--now", "--json")).json
    assert (at_once["secret"] != rotated["secret"], at_once["before_until"]) == (True, None)
    unknown = await desk.admin.run("webhooks", "rotate", "no-such-flow", "--json")
    assert (unknown.code, unknown.json["code"]) == (2, "flow_unknown")


async def test_senders_have_secrets_of_their_own(desk: Desk) -> None:
    empty = await desk.admin.run("webhooks", "list")
    assert (empty.code, "rotate --sender github" in empty.err) == (0, True)
    made = (await desk.admin.run("webhooks", "rotate", "--sender", "github", "--json")).json
    assert made["secret"].startswith("whsec_")
    assert (made["url"].endswith("/hooks/github"), made["before_until"]) == (True, None)
    own = await desk.admin.run("webhooks", "rotate", "--sender", "gitlab", "--secret", "-", stdin=f"{OWN}\n".encode())
    assert (own.code, OWN in own.out) == (0, True)
    listed = await desk.admin.run("webhooks", "list", "--json")
    assert [sender["kind"] for sender in listed.json] == ["github", "gitlab"]
    assert not any(secret in listed.out for secret in (OWN, made["secret"]))
    operator = await desk.of(Role.OPERATOR)
    refused = await operator.run("webhooks", "rotate", "--sender", "github", "--json")
    assert (refused.code, refused.json["code"]) == (3, "role_too_low")


async def test_what_is_meant_has_to_be_clear(desk: Desk) -> None:
    for words in ((), ("process-payment", "--sender", "github"), ("process-payment", "--secret", "-")):
        misused = await desk.admin.run("webhooks", "rotate", *words, "--json")
        assert (misused.code, misused.json["code"]) == (2, "usage")
    other = await desk.admin.run("webhooks", "rotate", "--sender", "bitbucket", "--json")
    assert (other.code, other.json["code"]) == (2, "usage")
    weak = await desk.admin.run("webhooks", "rotate", "--sender", "gitlab", "--secret", "-", "--json", stdin=b"hunter2")
    assert (weak.code, weak.json["code"]) == (2, "webhook_secret_invalid")


async def test_a_flow_s_next_fire_times_are_shown(desk: Desk) -> None:
    await desk.world.house.apply(DAILY)
    shown = await desk.admin.run("flows", "show", "report")
    assert (shown.code, shown.out.count("T09:00:00Z"), "0 9 * * *" in shown.out) == (0, 3, True)
