"""What an agent or a tool server wrote is text, wherever a person reads it: no script of theirs runs in Chromium."""

from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa
from playwright.async_api import Page, Route, expect

from control.approvals import pins
from control.executions.states import Cause
from control.identity.charter import Gate, ToolGrant
from control.identity.principals import Role
from control.tables import definitions, tool_calls
from kit import canonical
from kit.db import Tx
from tests.browser.conftest import Stage
from tests.browser.scene import write_log
from tests.control.house import ACCOUNT

CORPUS = (
    "<script>top.pwned=1</script>",
    "</textarea><script>top.pwned=1</script>",
    "</title></style></template><img src=x onerror=top.pwned=1>",
    '"><svg onload=top.pwned=1>',
    "' autofocus onfocus=top.pwned=1 x='",
    "javascript:top.pwned=1",
    "<iframe srcdoc='<script>top.pwned=1</script>'>",
    "<math><mtext><style><img src=x onerror=top.pwned=1></style>",
    "<a href=javascript:top.pwned=1>here</a><form action=//evil.example><button>Approve</button></form>",
    "{{ 7 * 7 }}{% raw %}${7*7}<%= 7 * 7 %>",
    "<link rel=stylesheet href=//evil.example/x.css><base href=//evil.example/>",
    "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "<!--><script>top.pwned=1</script-->",
    "\u202e<script>top.pwned=1</script>\u2028top.pwned=1",
)
REPORTS = """() => {
  window.reports = [];
  document.addEventListener('securitypolicyviolation', (one) => window.reports.push(one.violatedDirective));
}"""


async def hostile(stage: Stage) -> tuple[str, str, str]:
    """A finished call and a waiting one, hostile in every field an agent or an upstream writes."""
    house, name = stage.world.house, CORPUS[0] + CORPUS[3]
    tools = (ToolGrant(server="*", tool="*", approval=Gate(group="finance")),)
    await house.end(stage.scene.runs["PENDING"], Cause.CANCELLED)
    principal = await house.running(tools=tools, on_decline="continue")
    args: dict[str, Any] = {f"{n} {text}": text for n, text in enumerate(CORPUS)} | {
        "nested": {CORPUS[1]: list(CORPUS)}
    }
    done = await house.call(principal, name, **args)
    await house.db.write(partial(accepted, tool=name))
    await house.decide(done, reason=CORPUS[2], changed=args | {"more": CORPUS[1]})
    await house.claim(principal, done)
    await house.settle(done, content=[{"type": "text", "text": text} for text in CORPUS])
    refused = await house.call(principal, name, odd=CORPUS[2])
    await house.decide(refused, verdict="declined", reason="".join(CORPUS))
    waiting = await house.call(principal, name, **args, again=1)
    await house.db.write(partial(accepted, tool=name))
    words = sa.update(tool_calls).values(justification="\n".join(CORPUS), rule=CORPUS[4], name=name)
    await house.db.write(lambda tx: tx.execute(words))
    run = principal.execution_id or ""
    await write_log(stage.world, run, tuple(("agent", "warning", text) for text in CORPUS))
    return run, (await house.approval(done)).id, (await house.approval(waiting)).id


def accepted(tx: Tx, tool: str) -> None:
    """A definition that an admin accepted, and every call of the tool was made by."""
    raw = {"name": tool, "inputSchema": {"type": "object"}}
    named = {"account_id": ACCOUNT, "server": "payments", "tool": tool, "digest": canonical.digest(raw)}
    row = named | {"raw": canonical.dumps(raw), "status": "accepted", "seen_at": tx.now()}
    tx.execute(tx.insert(definitions).values(row).on_conflict_do_nothing())
    mine = sa.update(tool_calls).where(tool_calls.c.tool == tool)
    tx.execute(mine.values(definition_digest=named["digest"]))


def definition(words: str) -> pins.Seen:
    """What an upstream may say of its tool; its name is hostile, too."""
    fields = {text: {"type": "string", "title": text, "description": text, "default": text} for text in CORPUS}
    schema = {"type": "object", "properties": fields}
    raw = {
        "name": CORPUS[0],
        "title": words,
        "description": words,
        "inputSchema": schema,
        "annotations": {"title": words},
    }
    return pins.Seen(tool=CORPUS[0], digest=canonical.digest(raw), raw=canonical.dumps(raw))


async def described(stage: Stage) -> None:
    """A tool that was accepted, and that its server then described anew."""
    for words in (" ".join(CORPUS), "".join(reversed(CORPUS))):
        seen, trust = [definition(words)], pins.Trust(first_use=True)
        await stage.world.house.db.write(partial(pins.see, account_id=ACCOUNT, server="evil", found=seen, trust=trust))


async def looked_at(page: Page, address: str) -> None:
    """Open a page with everything on it unfolded, and find nothing that ran or was refused."""
    await page.goto(address)
    for details in await page.locator("details").all():
        await details.evaluate("one => { one.open = true }")
    await page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    assert await page.evaluate("() => window.pwned") is None, address
    assert await page.evaluate("() => window.reports") == [], address
    assert await page.locator("iframe, form[action*=evil], base, meta[http-equiv], link[href*=evil]").count() == 0
    assert await page.locator("[onerror], [onload], [onfocus], a[href^=javascript]").count() == 0


async def test_no_script_of_an_agent_runs_anywhere(stage: Stage) -> None:
    run, done, waiting = await hostile(stage)
    page = await stage.page(Role.APPROVER, java_script_enabled=True)
    await page.add_init_script(f"({REPORTS})()")
    await described(stage)
    await page.goto(f"{stage.url}/tools")
    tool = await page.locator("a[href^='/tools/evil/']").first.get_attribute("href")
    await looked_at(page, f"{stage.url}/tools")
    await looked_at(page, f"{stage.url}{tool}")
    for path in (f"/approvals/{waiting}", f"/approvals/{done}", f"/executions/{run}", "/approvals", "/executions", "/"):
        await looked_at(page, stage.url + path)
    visitor = await stage.page(None, 390)
    await visitor.add_init_script(f"({REPORTS})()")
    for approval in (waiting, done):
        await looked_at(visitor, f"{stage.url}/a/{await stage.world.link(approval)}")
    assert await visitor.evaluate("() => document.documentElement.scrollWidth <= innerWidth")


async def test_a_page_that_let_one_through_would_be_caught(stage: Stage) -> None:
    page = await stage.page(Role.APPROVER)
    await page.add_init_script(f"({REPORTS})()")
    let_through = "<img src=x onerror=top.pwned=1></main>"

    async def spoil(route: Route) -> None:
        answer = await route.fetch()
        await route.fulfill(response=answer, body=(await answer.text()).replace("</main>", let_through))

    await page.route("**/approvals", spoil)
    with pytest.raises(AssertionError):
        await looked_at(page, f"{stage.url}/approvals")
    await page.close()  # a page that a test filled is of no network: what Chromium refuses it is said late
    assert stage.noise
    stage.noise.clear()


async def test_a_hostile_request_can_still_be_decided(stage: Stage) -> None:
    _, _, waiting = await hostile(stage)
    page = await stage.page(None, 390)
    await page.goto(f"{stage.url}/a/{await stage.world.link(waiting)}")
    await page.get_by_text("Approve with changed arguments").click()
    box = page.get_by_label("Arguments as JSON")
    assert CORPUS[1] in await box.input_value()
    await box.fill('{"amount": 1}')
    await page.get_by_role("button", name="Approve with changes").click()
    await expect(page.get_by_role("heading", name="Approved by Alice Moreau")).to_be_visible()
    await expect(page.get_by_role("heading", name="Changed before it was approved")).to_be_visible()


async def test_a_wrong_change_comes_back_with_what_was_typed(stage: Stage) -> None:
    page = await stage.page(None, 390)
    await page.goto(f"{stage.url}/a/{await stage.world.link(stage.scene.approval)}")
    await page.get_by_text("Approve with changed arguments").click()
    await page.get_by_label("Arguments as JSON").fill("{not json")
    await page.get_by_role("button", name="Approve with changes").click()
    await expect(page.get_by_role("alert")).to_contain_text("That is not JSON")
    await expect(page.get_by_label("Arguments as JSON")).to_have_value("{not json")
    stage.noise[:] = [line for line in stage.noise if "422" not in line]  # Chromium notes the answer's status
