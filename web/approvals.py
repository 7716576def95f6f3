"""Approvals for people who are signed in: the inbox, one request, and deciding it as the approver one is."""

from collections.abc import Mapping
from types import MappingProxyType

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from control.approvals import links
from control.approvals.desk import Verdict
from control.identity.principals import Person, Role
from kit.errors import Fault, Invalid
from web import approval_reading, approval_shapes, asked, auth, grants, inbox, inputs, paging, reveals, shapes, verdicts
from web.openapi import Operation
from web.parts import parts
from web.render import count_page, page
from web.verdicts import Pressed

NONE: Mapping[str, str] = MappingProxyType({})
"""A form that nobody has filled in yet."""


class RevokedLinks(BaseModel):
    """How many links of a request opened its page until now; none does again."""

    revoked: int


async def list_approvals(request: Request, person: Person) -> shapes.Listed[approval_shapes.Approval]:
    """`?state=pending`: only the open ones, oldest first."""
    wanted = request.query_params.get("state", "all")
    if wanted not in ("pending", "all"):
        raise Invalid("query_invalid", f"state={wanted[:40]!r} is not known.", "It is pending or all.")
    db, page_ = parts(request).db, paging.wanted(request)
    return await approval_reading.listed(db, person.account_id, page_, pending=wanted == "pending")


async def get_approval(request: Request, person: Person) -> approval_shapes.ApprovalDetail:
    return await approval_reading.detail(parts(request).db, person.account_id, request.path_params["id"])


async def decide_approval(request: Request, person: Person) -> approval_shapes.ApprovalDetail:
    said = await inputs.body(request, approval_shapes.Verdict)
    fields = said.model_dump(exclude={"verdict"})
    await _decide(request, person, Pressed(verdict=Verdict(said.verdict), **fields))
    return await get_approval(request, person)


async def _decide(request: Request, person: Person, pressed: Pressed) -> None:
    given, id_ = parts(request), request.path_params["id"]
    approver = verdicts.approver_of(given, person)
    via = verdicts.came_from(request, "signed in")
    await verdicts.decide(given, person.account_id, id_, pressed, approver=approver.id, via=via)


async def counted(request: Request, person: Person) -> Response:
    """How many wait, for a sidebar that is looked at for long."""
    return count_page(request, person)


async def approval_page(request: Request, person: Person) -> Response:
    return await _approval_page(request, person)


async def _approval_page(
    request: Request,
    person: Person,
    *,
    fault: Fault | None = None,
    fields: Mapping[str, str] = NONE,
    clear: int | None = None,
) -> Response:
    given = parts(request)
    found = await get_approval(request, person)
    decides = person.may(Role.APPROVER)
    me = verdicts.known_approver(given, person) if decides else None
    alive = await links.alive(given.db, person.account_id, found.id, given.clock.now())
    return page(
        request,
        "approval.html",
        person,
        status=fault.status if fault else 200,
        **await asked.facts(given, person.account_id, found, me, clear),
        fault=fault,
        fields=fields,
        nonce="",
        links=alive if decides else 0,
        full=True,
    )


async def pressed(request: Request, person: Person) -> Response:
    fields = await inputs.form(request)
    try:
        await _decide(request, person, verdicts.read(fields))
    except Fault as fault:
        return await _approval_page(request, person, fault=fault, fields=fields)
    return RedirectResponse(f"/approvals/{request.path_params['id']}", 303)


async def revealed(request: Request, person: Person) -> Response:
    """One masked argument, once, for the person who presses; a reload is a page like any other."""
    if request.method in ("GET", "HEAD"):
        return RedirectResponse(f"/approvals/{request.path_params['id']}", 303)
    given, fields = parts(request), await inputs.form(request)
    auth.need(person, Role.APPROVER)
    found, me = await get_approval(request, person), verdicts.known_approver(given, person)
    via = verdicts.came_from(request, "signed in")
    number = await reveals.reveal(given, person.account_id, found, fields.get("argument", ""), me=me, via=via)
    return await _approval_page(request, person, clear=number)


async def revoke_links(request: Request, person: Person) -> RevokedLinks:
    given, id_ = parts(request), request.path_params["id"]
    by = person.email
    count = await given.db.write(lambda tx: links.revoke(tx, person.account_id, id_, by=by))
    return RevokedLinks(revoked=count)


async def links_revoked(request: Request, person: Person) -> Response:
    await revoke_links(request, person)
    return RedirectResponse(f"/approvals/{request.path_params['id']}", 303)


async def taken_back(request: Request, person: Person) -> Response:
    await grants.revoke(request, person, request.path_params["grant"])
    return RedirectResponse(f"/approvals/{request.path_params['id']}", 303)


routes = [
    Route("/approvals", auth.shown(inbox.inbox_page), methods=["GET"]),
    Route("/approvals/count", auth.shown(counted), methods=["GET"]),
    Route("/approvals/{id}", auth.shown(approval_page), methods=["GET"]),
    Route("/approvals/{id}/decide", auth.shown(pressed, Role.APPROVER), methods=["POST"]),
    Route("/approvals/{id}/reveal", auth.shown(revealed), methods=["GET", "POST"]),
    Route("/approvals/{id}/links/revoke", auth.shown(links_revoked, Role.APPROVER), methods=["POST"]),
    Route("/approvals/{id}/grants/{grant}/revoke", auth.shown(taken_back, Role.APPROVER), methods=["POST"]),
]
operations = [
    Operation(
        method="GET",
        path="/approvals",
        summary="Approval requests, newest first; the open ones oldest first",
        run=list_approvals,
        answers=shapes.Listed[approval_shapes.Approval],
        query=("state", *paging.QUERY),
    ),
    Operation(
        method="GET",
        path="/approvals/{id}",
        summary="One request with its arguments and votes",
        run=get_approval,
        answers=approval_shapes.ApprovalDetail,
    ),
    Operation(
        method="POST",
        path="/approvals/{id}/decide",
        summary="Approve or decline what was looked at",
        run=decide_approval,
        takes=approval_shapes.Verdict,
        answers=approval_shapes.ApprovalDetail,
        role=Role.APPROVER,
    ),
    Operation(
        method="POST",
        path="/approvals/{id}/links/revoke",
        summary="No link opens this request any more, and later notices of it carry none",
        run=revoke_links,
        answers=RevokedLinks,
        role=Role.APPROVER,
    ),
]
