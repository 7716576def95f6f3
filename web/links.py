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
from web import inputs, reading, verdicts
from web.approvals import NONE, facts
from web.parts import parts
from web.render import page

COOKIE = "preloop_visit"


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
    clean = f"/a/{visitor.approval_id}"
    answer = RedirectResponse(clean, 303)
    # Lax, not Strict: the link is opened from a mail or a chat, and Strict cookies stay away on that very redirect
    answer.set_cookie(
        COOKIE,
        key,
        path=clean,
        secure=parts(request).settings.secure,
        httponly=True,
        samesite="lax",
        max_age=14 * 86400,
    )
    return answer


async def _holder(request: Request, clear: str) -> Visitor:
    """Whose link this is. Whoever comes with too many that are none is told to wait; a real one opens all the same, for
    behind one proxy everybody has one address."""
    given, address = parts(request), request.client.host if request.client else "unknown"
    try:
        visitor = await links.visitor(given.db, clear, given.clock.now())
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
    clear = request.cookies.get(COOKIE, "")
    visitor = await _holder(request, clear)
    if visitor.approval_id != approval_id:
        raise Missing("link_unknown", "This link is not valid, or not any more.", "Ask for a new notice.")
    return visitor, clear


async def _page(
    request: Request, approval_id: str, *, fault: Fault | None = None, fields: Mapping[str, str] = NONE
) -> Response:
    given = parts(request)
    visitor, clear = await _visitor(request, approval_id)
    asked = await reading.approval(given.db, visitor.account_id, approval_id)
    me = given.desk.directory.approvers.get(visitor.approver)
    return page(
        request,
        "approval.html",
        None,
        status=fault.status if fault else 200,
        **await facts(given, visitor.account_id, asked, me),
        fault=fault,
        fields=fields,
        nonce=links.nonce(clear),
        full=False,
    )


async def decide(request: Request) -> Response:
    given, id_ = parts(request), request.path_params["key"]
    visitor, clear = await _visitor(request, id_)
    if not given.decisions.take(id_):
        raise _too_often()
    fields = await inputs.form(request)
    if not links.same_nonce(clear, fields.get("nonce", "")):
        raise Refused("nonce_wrong", "This form is not the one that your link opened.", "Open the link again.")
    if "origin" not in request.headers and "sec-fetch-site" not in request.headers:
        raise Refused("origin_missing", "A decision must say which page it comes from.", "Send an Origin header.")
    via = verdicts.came_from(request, f"link {visitor.link_id}")
    try:
        pressed = verdicts.read(fields)
        await verdicts.decide(given, visitor.account_id, id_, pressed, approver=visitor.approver, via=via)
    except Fault as fault:
        return await _page(request, id_, fault=fault, fields=fields)
    return RedirectResponse(f"/a/{id_}", 303)


routes = [
    Route("/a/{key}", open_link, methods=["GET"]),
    Route("/a/{key}", decide, methods=["POST"]),
]
