"""The approval page behind a signed link, `/a/{token}`: no account, one approver, one approval.

Opening the link swaps it for a cookie that only the clean address gets; nothing is decided by looking. The decision is
a POST from our own page, with the link's nonce and the digest of the arguments it showed. Whatever is wrong with a
link, the answer is the same 404.
"""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from control.approvals import links
from control.approvals.desk import Verdict
from control.approvals.links import Visitor
from kit.errors import Fault, Missing, Refused
from web import inputs, reading
from web.approvals import facts
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
        return await _page(request, key, fault=None, reason="")
    visitor = await links.visitor(parts(request).db, key, parts(request).clock.now())
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


async def _visitor(request: Request, approval_id: str) -> tuple[Visitor, str]:
    clear = request.cookies.get(COOKIE, "")
    visitor = await links.visitor(parts(request).db, clear, parts(request).clock.now())
    if visitor.approval_id != approval_id:
        raise Missing("link_unknown", "This link is not valid, or not any more.", "Ask for a new notice.")
    return visitor, clear


async def _page(request: Request, approval_id: str, *, fault: Fault | None, reason: str) -> Response:
    given = parts(request)
    visitor, clear = await _visitor(request, approval_id)
    asked = await reading.approval(given.db, visitor.account_id, approval_id)
    approver = given.desk.directory.approvers.get(visitor.approver)
    return page(
        request,
        "approval.html",
        None,
        status=fault.status if fault else 200,
        **await facts(given, visitor.account_id, asked),
        fault=fault,
        reason=reason,
        nonce=links.nonce(clear),
        approver=approver.name if approver else visitor.approver,
        may_decide=True,
        full=False,
    )


async def decide(request: Request) -> Response:
    given, id_ = parts(request), request.path_params["key"]
    visitor, clear = await _visitor(request, id_)
    fields = await inputs.form(request)
    reason = fields.get("reason", "")[:2000]
    if not links.same_nonce(clear, fields.get("nonce", "")):
        raise Refused("nonce_wrong", "This form is not the one that your link opened.", "Open the link again.")
    if "origin" not in request.headers and "sec-fetch-site" not in request.headers:
        raise Refused("origin_missing", "A decision must say which page it comes from.", "Send an Origin header.")
    via = f"link {visitor.link_id} from {request.client.host if request.client else 'unknown'}"
    try:
        verdict = inputs.choice(fields.get("verdict", ""), Verdict)
        await given.db.write(
            lambda tx: given.desk.decide(
                tx,
                visitor.account_id,
                id_,
                approver=visitor.approver,
                verdict=verdict,
                reason=reason,
                digest=fields.get("digest", ""),
                via=via,
            )
        )
    except Fault as fault:
        return await _page(request, id_, fault=fault, reason=reason)
    return RedirectResponse(f"/a/{id_}", 303)


routes = [
    Route("/a/{key}", open_link, methods=["GET"]),
    Route("/a/{key}", decide, methods=["POST"]),
]
