"""The approval page behind a signed link, `/a/{token}`: no account, one approver, one approval.

Opening the link swaps it for a cookie that only the clean address gets; nothing is decided by looking. The decision is
a POST from our own page, with the link's nonce and the digest of the arguments it showed. Whatever is wrong with a
link, the answer is the same 404.
"""

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from control.approvals import links
from control.approvals.links import Visitor
from kit.asgi import refusal
from kit.errors import Fault, Missing, Refused
from web import approval_reading, asked, inputs, reveals, verdicts
from web.approvals import NONE
from web.parts import parts
from web.render import page

MOST_COOKIES = 10
"""Links one browser holds; the ones of the oldest approvals are forgotten first."""
LASTS_S = 14 * 86400


def shown_path(path: str) -> str:
    """A path as logs may hold it: without the secret of a link."""
    key = path.removeprefix("/a/")
    return path if key == path or key.startswith("apr_") else "/a/…"


async def open_link(request: Request) -> Response:
    """A link's secret becomes a cookie; an approval's id is the page itself."""
    key = request.path_params["key"]
    if key.startswith("apr_"):
        return await _page(request, key)
    visitor = await _holder(request, key)
    # nowhere else is the secret in an address; our own forms need a referrer, so that other pages are not as strict
    answer = RedirectResponse(f"/a/{visitor.approval_id}", 303, headers={"referrer-policy": "no-referrer"})
    _keep(request, answer, visitor.approval_id, key)
    return answer


def _keep(request: Request, answer: Response, approval_id: str, clear: str) -> None:
    """The link as a cookie of its approval's name. Lax, not Strict: the link is opened from a mail or a chat, and
    Strict cookies stay away on that very redirect."""
    secure, name = parts(request).settings.secure, cookie_name(request, approval_id)
    answer.set_cookie(name, clear, path="/", secure=secure, httponly=True, samesite="lax", max_age=LASTS_S)
    prefix = cookie_name(request, "")
    held = sorted(one for one in request.cookies if one.startswith(prefix) and one != name)
    for old in held[: max(0, len(held) + 1 - MOST_COOKIES)]:
        answer.delete_cookie(old, path="/", secure=secure, httponly=True, samesite="lax")


def cookie_name(request: Request, approval_id: str) -> str:
    """Under https no neighbouring host can plant one (`__Host-`, RFC 6265bis 4.1.3.2)."""
    return ("__Host-" if parts(request).settings.secure else "") + f"preloop_visit_{approval_id}"


async def _holder(request: Request, clear: str) -> Visitor:
    """Whose link this is. Whoever comes with too many that are none is told to wait; a real one opens all the same, for
    behind one proxy everybody has one address."""
    given, address = parts(request), verdicts.address(request)
    try:
        visitor = await links.visitor(given.db, clear, given.clock.now(), given.desk.directory)
    except Missing:
        if not given.guesses.take(address):
            raise _too_often() from None
        raise
    if not given.looks.take(f"{visitor.approval_id} {address}"):
        raise _too_often()
    return visitor


def _too_often() -> Fault:
    return refusal(429, "too_often", "This was opened too often.", "Wait a minute and open it again.")


async def _visitor(request: Request, approval_id: str) -> tuple[Visitor, str]:
    clear = request.cookies.get(cookie_name(request, approval_id), "")
    visitor = await _holder(request, clear)
    if visitor.approval_id != approval_id:
        raise Missing("link_unknown", "This link is not valid, or not any more.", "Sign in to decide.")
    return visitor, clear


async def _page(
    request: Request,
    approval_id: str,
    *,
    fault: Fault | None = None,
    fields: Mapping[str, str] = NONE,
    shown: int | None = None,
) -> Response:
    given = parts(request)
    visitor, clear = await _visitor(request, approval_id)
    found = await approval_reading.detail(given.db, visitor.account_id, approval_id)
    me = given.desk.directory.approvers.get(visitor.approver)
    return page(
        request,
        "approval.html",
        None,
        status=fault.status if fault else 200,
        **await asked.facts(given, visitor.account_id, found, me, shown),
        fault=fault,
        fields=fields,
        nonce=links.nonce(clear),
        full=False,
    )


async def decide(request: Request) -> Response:
    given, id_ = parts(request), request.path_params["key"]
    visitor, fields, via = await _pressed(request, id_)
    try:
        pressed = verdicts.read(fields)
        await verdicts.decide(given, visitor.account_id, id_, pressed, approver=visitor.approver, via=via, by_link=True)
    except Fault as fault:
        return await _page(request, id_, fault=fault, fields=fields)
    return RedirectResponse(f"/a/{id_}", 303)


async def _pressed(request: Request, id_: str) -> tuple[Visitor, Mapping[str, str], str]:
    """Who sent this form, its fields, and how they came; refused unless it is the one that their link opened."""
    visitor, clear = await _visitor(request, id_)
    if not parts(request).decisions.take(f"{id_} {verdicts.address(request)}"):
        raise _too_often()
    fields = await inputs.form(request)
    if not links.same_nonce(clear, fields.get("nonce", "")):
        raise Refused("nonce_wrong", "This form is not the one that your link opened.", "Open the link again.")
    if "origin" not in request.headers and "sec-fetch-site" not in request.headers:
        raise Refused("origin_missing", "A decision must say which page it comes from.", "Send an Origin header.")
    return visitor, fields, verdicts.came_from(request, f"link {visitor.link_id}")


async def reveal(request: Request) -> Response:
    """One masked argument, once, for the person who presses."""
    given, id_ = parts(request), request.path_params["key"]
    visitor, fields, via = await _pressed(request, id_)
    found = await approval_reading.detail(given.db, visitor.account_id, id_)
    if found.sign_in:
        raise Refused("sign_in_required", "Secrets of this request are not shown by link.", "Sign in to look at them.")
    me = given.desk.directory.approvers.get(visitor.approver)
    number = await reveals.reveal(given, visitor.account_id, found, fields.get("argument", ""), me=me, via=via)
    return await _page(request, id_, shown=number)


async def back(request: Request) -> Response:
    return RedirectResponse(f"/a/{request.path_params['key']}", 303)


routes = [
    Route("/a/{key}", open_link, methods=["GET"]),
    Route("/a/{key}", decide, methods=["POST"]),
    Route("/a/{key}/reveal", back, methods=["GET"]),
    Route("/a/{key}/reveal", reveal, methods=["POST"]),
]
