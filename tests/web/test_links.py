"""The approval page behind a link: looking changes nothing, deciding is done once, by its holder, from our page."""

import re
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from control.approvals import links
from control.identity.principals import Principal
from tests.browser.scene import PAYMENT
from tests.control.house import ACCOUNT
from tests.web.world import World, open_world
from web.settings import WebSettings


class Asked:
    """A waiting call, its approval and a fresh link."""

    def __init__(self, world: World, principal: Principal, call: str, approval: str, link: str) -> None:
        self.world, self.principal, self.call, self.approval, self.link = world, principal, call, approval, link
        self.run = principal.execution_id

    async def open(self, http: httpx.AsyncClient, link: str = "") -> dict[str, str]:
        """Follow a link as a person does; the hidden fields of the Approve form."""
        swapped = await http.get(f"/a/{link or self.link}")
        assert (swapped.status_code, swapped.headers["location"]) == (303, f"/a/{self.approval}")
        page = await http.get(swapped.headers["location"])
        assert page.status_code == 200
        return hidden(page.text)

    async def status(self) -> str:
        return str((await self.world.house.approval(self.call)).status)


def hidden(html: str) -> dict[str, str]:
    """What the form carries back unseen."""
    return {name: found(html, name) for name in ("nonce", "digest", "definition", "rule")}


def found(html: str, name: str) -> str:
    hit = re.search(rf'name="{name}"\s+value="([^"]*)"', html)
    assert hit
    return hit[1]


@pytest.fixture
async def asked(world: World) -> Asked:
    principal = await world.house.running()
    call = await world.house.call(principal, **PAYMENT)
    approval = (await world.house.approval(call)).id
    return Asked(world, principal, call, approval, await world.link(approval))


async def test_approving_is_one_post_from_our_page(asked: Asked) -> None:
    async with asked.world.client() as http:
        fields = await asked.open(http)
        done = await http.post(f"/a/{asked.approval}", data=fields | {"verdict": "approved", "reason": ""})
        assert done.status_code == 303
        page = await http.get(done.headers["location"])
    assert await asked.status() == "approved"
    assert "Approved by Alice Moreau" in page.text
    assert "Approved, awaiting the caller." in page.text


async def test_declining_needs_a_reason_and_the_reason_is_kept(asked: Asked) -> None:
    async with asked.world.client() as http:
        fields = await asked.open(http)
        blank = await http.post(f"/a/{asked.approval}", data=fields | {"verdict": "declined", "reason": "  "})
        assert blank.status_code == 422
        assert "Say why you decline" in blank.text
        assert await asked.status() == "pending"
        await http.post(f"/a/{asked.approval}", data=fields | {"verdict": "declined", "reason": "over budget"})
        page = await http.get(f"/a/{asked.approval}")
    assert await asked.status() == "declined"
    assert "Declined by Alice Moreau" in page.text
    assert "over budget" in page.text
    assert await asked.world.state(asked.run) == "FAILED"


async def test_looking_changes_nothing_however_often(asked: Asked) -> None:
    async with asked.world.client() as http:
        for _ in range(20):
            for method in ("GET", "HEAD"):
                await http.request(method, f"/a/{asked.link}")
                await http.request(method, f"/a/{asked.approval}")
    assert await asked.status() == "pending"
    assert await asked.world.state(asked.run) == "RUNNING"


async def test_a_link_becomes_a_cookie_that_no_script_reads(asked: Asked) -> None:
    async with asked.world.client() as http:
        answer = await http.get(f"/a/{asked.link}")
    name, _, rest = answer.headers["set-cookie"].partition("=")
    assert name == f"preloop_visit_{asked.approval}"
    assert {"Path=/", "HttpOnly", "SameSite=lax"} <= set(rest.split("; "))
    assert asked.link not in answer.headers["location"]
    assert answer.headers["referrer-policy"] == "no-referrer"


async def test_under_https_cookies_are_bound_to_the_host(tmp_path: Path) -> None:
    settings = WebSettings(public_url="https://preloop.example.com")
    async with open_world(tmp_path, settings) as world:
        call = await world.house.call(await world.house.running(), **PAYMENT)
        approval = (await world.house.approval(call)).id
        transport = httpx.ASGITransport(world.app)
        async with httpx.AsyncClient(transport=transport, base_url=settings.url) as http:
            answer = await http.get(f"/a/{await world.link(approval)}")
            page = await http.get(f"/a/{approval}")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"__Host-preloop_visit_{approval}=")
    assert {"Path=/", "HttpOnly", "Secure"} <= set(cookie.split("; "))
    assert "domain" not in cookie.lower()
    assert page.status_code == 200
    assert page.headers["strict-transport-security"].startswith("max-age=")


async def test_a_browser_holds_ten_links_and_forgets_the_oldest(asked: Asked) -> None:
    async with asked.world.client() as http:
        for number in range(12):
            http.cookies.set(f"preloop_visit_apr_0{number:02}", "x")
        answer = await http.get(f"/a/{asked.link}")
    given = [one for name, one in answer.headers.multi_items() if name == "set-cookie"]
    gone = [one.partition("=")[0][-2:] for one in given if "Max-Age=0" in one]
    assert gone == ["00", "01", "02"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("content-security-policy", "default-src 'none'"),
        ("content-security-policy", "script-src 'self';"),
        ("content-security-policy", "style-src 'self';"),
        ("content-security-policy", "form-action 'self'"),
        ("content-security-policy", "frame-ancestors 'none'"),
        ("content-security-policy", "base-uri 'none'"),
        ("referrer-policy", "same-origin"),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("cross-origin-opener-policy", "same-origin"),
        ("x-robots-tag", "noindex"),
    ],
)
async def test_the_page_s_headers(asked: Asked, name: str, value: str) -> None:
    async with asked.world.client() as http:
        swapped = await http.get(f"/a/{asked.link}")
        page, wrong = await http.get(f"/a/{asked.approval}"), await http.get("/a/apl_guess")
    assert value in page.headers[name] and value in wrong.headers[name]
    assert swapped.headers["cache-control"] == "no-store"


async def test_every_wrong_link_gets_the_same_404(asked: Asked) -> None:
    other = await asked.world.house.running()
    foreign = (await asked.world.house.approval(await asked.world.house.call(other, amount=900))).id
    expired = await asked.world.link(asked.approval, lasts=-links.USEFUL - timedelta(seconds=1))
    revoked = await asked.world.link(foreign)
    await asked.world.house.db.write(lambda tx: links.revoke(tx, ACCOUNT, foreign, by="test"))
    answers = []
    async with asked.world.client() as http:
        await asked.open(http)
        keys = ("apl_guess", "x", expired, revoked, foreign, "apr_nothing")
        answers += [await http.get(f"/a/{key}") for key in keys]
    async with asked.world.client() as stranger:
        answers.append(await stranger.get(f"/a/{asked.approval}"))
        answers.append(await stranger.post(f"/a/{asked.approval}", data={"verdict": "approved"}))
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.text for answer in answers}) == 1


@pytest.mark.parametrize(
    ("changed", "headers", "status"),
    [
        ({"nonce": "0" * 64}, {}, 403),
        ({"nonce": ""}, {}, 403),
        ({"digest": "0" * 64}, {}, 409),
        ({"rule": "0" * 64}, {}, 409),
        ({"rule": ""}, {}, 409),
        ({"definition": "0" * 64}, {}, 409),
        ({"verdict": "maybe"}, {}, 422),
        ({}, {"origin": "https://evil.example"}, 403),
        ({}, {"origin": "null"}, 403),
        ({}, {"sec-fetch-site": "cross-site"}, 403),
    ],
)
async def test_a_form_that_is_not_ours_decides_nothing(
    asked: Asked, changed: dict[str, str], headers: dict[str, str], status: int
) -> None:
    async with asked.world.client() as http:
        fields = await asked.open(http)
        given = fields | {"verdict": "approved", "reason": "x"} | changed
        refused = await http.post(f"/a/{asked.approval}", data=given, headers=headers)
    assert refused.status_code == status
    assert await asked.status() == "pending"


async def test_a_decision_must_say_where_it_comes_from(asked: Asked) -> None:
    async with asked.world.client() as http:
        fields = await asked.open(http)
        del http.headers["origin"]
        refused = await http.post(f"/a/{asked.approval}", data=fields | {"verdict": "approved"})
    assert refused.status_code == 403
    assert await asked.status() == "pending"


async def test_the_second_person_learns_who_was_first(asked: Asked) -> None:
    async with asked.world.client() as alice, asked.world.client() as bob:
        hers = await asked.open(alice)
        his = await asked.open(bob, await asked.world.link(asked.approval, "bob"))
        await alice.post(f"/a/{asked.approval}", data=hers | {"verdict": "approved"})
        again = await alice.post(f"/a/{asked.approval}", data=hers | {"verdict": "approved"})
        late = await bob.post(f"/a/{asked.approval}", data=his | {"verdict": "declined", "reason": "no"})
    assert again.status_code == 303
    assert late.status_code == 409
    assert "Alice Moreau" in late.text
    assert await asked.status() == "approved"


async def test_the_page_shows_the_result_afterwards(asked: Asked) -> None:
    async with asked.world.client() as http:
        fields = await asked.open(http)
        await http.post(f"/a/{asked.approval}", data=fields | {"verdict": "approved"})
        await asked.world.house.claim(asked.principal, asked.call)
        await asked.world.house.settle(asked.call, transaction_id="tx_abc123")
        page = await http.get(f"/a/{asked.approval}")
    assert "tx_abc123" in page.text
    assert 'name="verdict"' not in page.text


async def test_the_page_hides_secrets_and_shows_what_hides(world: World) -> None:
    principal = await world.house.running()
    args = {"amount": 500, "api_key": "sk-very-secret", "note": "a\u202eb", "<script>": "<img src=x onerror=alert(1)>"}
    call = await world.house.call(principal, **args)  # type: ignore[arg-type]
    approval = (await world.house.approval(call)).id
    async with world.client() as http:
        await http.get(f"/a/{await world.link(approval)}")
        page = (await http.get(f"/a/{approval}")).text
    assert "sk-very-secret" not in page
    assert "U+202E" in page
    assert "\u202e" not in page
    assert "<img src=x" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page


async def test_a_link_leaves_no_trace_in_the_log(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    async with asked.world.client() as http:
        fields = await asked.open(http)
        await http.post(f"/a/{asked.approval}", data=fields | {"verdict": "approved"})
    written = capsys.readouterr()
    assert "/a/…" in written.out + written.err
    assert asked.link not in written.out + written.err


async def test_a_link_decides_its_own_approval_and_no_other(asked: Asked) -> None:
    house = asked.world.house
    other = await house.call(asked.principal, amount=900)
    theirs = (await house.approval(other)).id
    digest = (await house.call_row(other)).digest
    form = {"nonce": links.nonce(asked.link), "digest": digest, "verdict": "approved", "reason": ""}
    async with asked.world.client() as http:
        http.cookies.set(f"preloop_visit_{asked.approval}", asked.link)
        http.cookies.set(f"preloop_visit_{theirs}", asked.link)
        assert (await http.get(f"/a/{asked.approval}")).status_code == 200
        looked = await http.get(f"/a/{theirs}")
        decided = await http.post(f"/a/{theirs}", data=form)
    assert (looked.status_code, decided.status_code) == (404, 404)
    assert (await house.approval(other)).status == "pending"


async def test_a_form_of_odd_bytes_is_refused_and_not_an_error_of_ours(asked: Asked) -> None:
    async with asked.world.client() as http:
        fields = await asked.open(http)
        answer = await http.post(f"/a/{asked.approval}", data=fields | {"nonce": "é", "verdict": "approved"})
    assert answer.status_code == 403
    assert await asked.status() == "pending"
