"""Approvals for people who are signed in: the inbox, one request, and deciding it as the approver one is."""

from collections.abc import Mapping
from types import MappingProxyType

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from control.approvals import requests
from control.approvals.desk import Verdict
from control.approvals.directory import Approver
from control.identity.principals import Person, Role
from control.tables import grants as standing
from kit.errors import Fault, Invalid
from web import arguments, auth, grants, inputs, reading, shapes, verdicts
from web.openapi import Operation
from web.parts import Parts, parts
from web.render import page
from web.verdicts import Pressed

NONE: Mapping[str, str] = MappingProxyType({})
"""A form that nobody has filled in yet."""


async def list_approvals(request: Request, person: Person) -> shapes.Listed[shapes.Approval]:
    """`?state=pending`: only the open ones, oldest first."""
    wanted = request.query_params.get("state", "all")
    if wanted not in ("pending", "all"):
        raise Invalid("query_invalid", f"state={wanted[:40]!r} is not known.", "It is pending or all.")
    pending = wanted == "pending"
    return shapes.Listed(items=await reading.approvals_listed(parts(request).db, person.account_id, pending=pending))


async def get_approval(request: Request, person: Person) -> shapes.ApprovalDetail:
    return await reading.approval(parts(request).db, person.account_id, request.path_params["id"])


async def decide_approval(request: Request, person: Person) -> shapes.ApprovalDetail:
    asked = await inputs.body(request, shapes.Verdict)
    verdict = Verdict(asked.verdict)
    await _decide(
        request, person, Pressed(verdict=verdict, reason=asked.reason, digest=asked.digest, arguments=asked.arguments)
    )
    return await get_approval(request, person)


async def _decide(request: Request, person: Person, pressed: Pressed) -> None:
    given, id_ = parts(request), request.path_params["id"]
    approver = verdicts.approver_of(given, person)
    via = verdicts.came_from(request, "signed in")
    await verdicts.decide(given, person.account_id, id_, pressed, approver=approver.id, via=via)


async def approvals_page(request: Request, person: Person) -> Response:
    given = parts(request)
    found = await reading.approvals_listed(given.db, person.account_id)
    waiting = await reading.approvals_listed(given.db, person.account_id, pending=True)
    closed = [approval for approval in found if approval.status != "pending"]
    return page(request, "approvals.html", person, waiting=waiting, closed=closed, directory=given.desk.directory)


async def approval_page(request: Request, person: Person) -> Response:
    return await _approval_page(request, person)


async def _approval_page(
    request: Request, person: Person, *, fault: Fault | None = None, fields: Mapping[str, str] = NONE
) -> Response:
    given = parts(request)
    asked = await get_approval(request, person)
    me = verdicts.known_approver(given, person) if person.may(Role.APPROVER) else None
    return page(
        request,
        "approval.html",
        person,
        status=fault.status if fault else 200,
        **await facts(given, person.account_id, asked, me),
        fault=fault,
        fields=fields,
        nonce="",
        full=True,
    )


async def facts(given: Parts, account_id: str, asked: shapes.ApprovalDetail, me: Approver | None) -> dict[str, object]:
    """What both approval pages show of a request, to somebody who may be an approver."""
    now, directory = given.clock.now(), given.desk.directory
    run = await reading.execution(given.db, account_id, asked.execution_id, now) if asked.execution_id else None
    calls = await reading.tool_calls_of(given.db, account_id, asked.execution_id, now) if asked.execution_id else []
    decider = directory.approvers.get(asked.decided_by or "")
    people = directory.asked(asked.approver_group, asked.escalate_to if asked.escalated_at else None)
    said = {vote.approver: vote.verdict for vote in asked.votes}
    mine = bool(me and asked.four_eyes and requests.is_requester(me, asked.started_by))
    return {
        "asked": asked,
        "rows": arguments.rows(asked.whole_arguments),
        "editable": arguments.editable(asked.whole_arguments),
        "changes": arguments.differences(asked.whole_arguments, asked.whole_approved) if asked.whole_approved else [],
        "run": run,
        "before": [call for call in calls if call.id != asked.call_id],
        "people": [(member.name, said.get(member.id)) for member in people],
        "decider": decider.name if decider else asked.decided_by,
        "open": asked.status == "pending" and asked.expires_at > now,
        "approver": me.name if me else "",
        "may_decide": me in people,
        "voted": bool(me and me.id in said),
        "mine": mine,
        "alone": asked.quorum == 1 and not mine,
        "grants": await grants.listed(given.db, account_id, now, standing.c.approval_id == asked.id),
    }


async def pressed(request: Request, person: Person) -> Response:
    fields = await inputs.form(request)
    try:
        await _decide(request, person, verdicts.read(fields))
    except Fault as fault:
        return await _approval_page(request, person, fault=fault, fields=fields)
    return RedirectResponse(f"/approvals/{request.path_params['id']}", 303)


async def taken_back(request: Request, person: Person) -> Response:
    await grants.revoke(request, person, request.path_params["grant"])
    return RedirectResponse(f"/approvals/{request.path_params['id']}", 303)


routes = [
    Route("/approvals", auth.shown(approvals_page), methods=["GET"]),
    Route("/approvals/{id}", auth.shown(approval_page), methods=["GET"]),
    Route("/approvals/{id}/decide", auth.shown(pressed, Role.APPROVER), methods=["POST"]),
    Route("/approvals/{id}/grants/{grant}/revoke", auth.shown(taken_back, Role.APPROVER), methods=["POST"]),
]
operations = [
    Operation(
        method="GET",
        path="/approvals",
        summary="Approval requests, newest first; the open ones oldest first",
        run=list_approvals,
        answers=shapes.Listed[shapes.Approval],
        query=("state",),
    ),
    Operation(
        method="GET",
        path="/approvals/{id}",
        summary="One request with its arguments and votes",
        run=get_approval,
        answers=shapes.ApprovalDetail,
    ),
    Operation(
        method="POST",
        path="/approvals/{id}/decide",
        summary="Approve or decline what was looked at",
        run=decide_approval,
        takes=shapes.Verdict,
        answers=shapes.ApprovalDetail,
        role=Role.APPROVER,
    ),
]
