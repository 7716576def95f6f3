"""Approvals for people who are signed in: the inbox, one request, and deciding it as the approver one is."""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from control.approvals.desk import Decided, Verdict
from control.identity.principals import Person, Role
from kit.errors import Fault, Refused
from web import arguments, auth, inputs, reading, shapes
from web.openapi import Operation
from web.parts import Parts, parts
from web.render import page


def approver_of(given: Parts, person: Person) -> str | None:
    """The approver of preloop.toml that this person is, by e-mail address."""
    known = given.desk.directory.approvers.values()
    return next((a.id for a in known if a.email and a.email.lower() == person.email.lower()), None)


def came_from(request: Request) -> str:
    """Where a signed-in decision came from, for the record."""
    return f"signed in from {request.client.host if request.client else 'unknown'}"


def members(given: Parts, group: str) -> list[str]:
    return [member.name for member in given.desk.directory.members(group)]


async def list_approvals(request: Request, person: Person) -> shapes.Listed[shapes.Approval]:
    """`?state=pending`: only the open ones, oldest first."""
    pending = request.query_params.get("state") == "pending"
    return shapes.Listed(items=await reading.approvals_listed(parts(request).db, person.account_id, pending=pending))


async def get_approval(request: Request, person: Person) -> shapes.ApprovalDetail:
    return await reading.approval(parts(request).db, person.account_id, request.path_params["id"])


async def decide_approval(request: Request, person: Person) -> shapes.ApprovalDetail:
    asked = await inputs.body(request, shapes.Verdict)
    await _decide(request, person, Verdict(asked.verdict), asked.reason, asked.digest)
    return await get_approval(request, person)


async def _decide(request: Request, person: Person, verdict: Verdict, reason: str, digest: str) -> Decided:
    given, id_ = parts(request), request.path_params["id"]
    approver = approver_of(given, person)
    if approver is None:
        raise Refused("not_an_approver", f"{person.email} is no approver.", "An admin adds approvers to preloop.toml.")
    return await given.db.write(
        lambda tx: given.desk.decide(
            tx,
            person.account_id,
            id_,
            approver=approver,
            verdict=verdict,
            reason=reason[:2000],
            digest=digest,
            via=came_from(request),
        )
    )


async def approvals_page(request: Request, person: Person) -> Response:
    given = parts(request)
    found = await reading.approvals_listed(given.db, person.account_id)
    waiting = await reading.approvals_listed(given.db, person.account_id, pending=True)
    closed = [approval for approval in found if approval.status != "pending"]
    return page(request, "approvals.html", person, waiting=waiting, closed=closed, directory=given.desk.directory)


async def approval_page(request: Request, person: Person) -> Response:
    return await _approval_page(request, person, fault=None, reason="")


async def _approval_page(request: Request, person: Person, *, fault: Fault | None, reason: str) -> Response:
    given = parts(request)
    asked = await get_approval(request, person)
    mine = approver_of(given, person)
    member = mine in {a.id for a in given.desk.directory.members(asked.approver_group)}
    return page(
        request,
        "approval.html",
        person,
        status=fault.status if fault else 200,
        **await facts(given, person.account_id, asked),
        fault=fault,
        reason=reason,
        nonce="",
        may_decide=member and person.may(Role.APPROVER),
        full=True,
    )


async def facts(given: Parts, account_id: str, asked: shapes.ApprovalDetail) -> dict[str, object]:
    """What both approval pages show of a request."""
    now = given.clock.now()
    run = await reading.execution(given.db, account_id, asked.execution_id, now) if asked.execution_id else None
    calls = await reading.tool_calls_of(given.db, account_id, asked.execution_id, now) if asked.execution_id else []
    decider = given.desk.directory.approvers.get(asked.decided_by or "")
    return {
        "asked": asked,
        "rows": arguments.rows(asked.whole_arguments),
        "run": run,
        "before": [call for call in calls if call.id != asked.call_id],
        "members": members(given, asked.approver_group),
        "decider": decider.name if decider else asked.decided_by,
        "open": asked.status == "pending" and asked.expires_at > now,
    }


async def pressed(request: Request, person: Person) -> Response:
    fields = await inputs.form(request)
    reason = fields.get("reason", "")
    try:
        verdict = inputs.choice(fields.get("verdict", ""), Verdict)
        await _decide(request, person, verdict, reason, fields.get("digest", ""))
    except Fault as fault:
        return await _approval_page(request, person, fault=fault, reason=reason)
    return RedirectResponse(f"/approvals/{request.path_params['id']}", 303)


routes = [
    Route("/approvals", auth.shown(approvals_page), methods=["GET"]),
    Route("/approvals/{id}", auth.shown(approval_page), methods=["GET"]),
    Route("/approvals/{id}/decide", auth.shown(pressed, Role.APPROVER), methods=["POST"]),
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
