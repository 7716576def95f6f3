"""Editing a flow on a page: what was typed is shown as a difference first, with what `review` says of it, and then
saved as a version, onto the one that was looked at and no other. The form itself is next door in `flow_form`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from control.flows import catalog, source
from control.flows.review import account as known_of
from control.flows.review import review
from control.flows.source import Written
from control.identity.principals import Person, Role
from kit import asgi, canonical
from kit.errors import Fault, Invalid
from web import auth, flow_files, flow_form, inputs
from web.flow_form import Values
from web.flow_shapes import MOST
from web.parts import parts
from web.render import page

FIELDS = 20_000
"""Fields of a form: five for every tool that was ever seen."""
_CHANGED = "flow_changed"


@dataclass(kw_only=True)
class Edit:
    """A form on its way: onto which version, what is in it, and what is to be told of it."""

    name: str
    version: int
    body: Mapping[str, Any]
    seen: Mapping[str, list[str]]
    values: Values
    diff: str | None = None
    """None before a look at the changes."""
    digest: str = ""
    warnings: tuple[str, ...] = ()
    wrong: str = ""
    """The field that the error is about."""
    error: str = ""
    hint: str = ""
    meanwhile: str = ""
    """What somebody else saved since the form was opened, as a difference."""


async def edit_page(request: Request, person: Person) -> Response:
    given, name = parts(request), request.path_params["name"]
    row, _ = await catalog.read(given.db, person.account_id, name)
    seen = (await known_of(given.db, person.account_id, name)).tools
    body = json.loads(row.body)
    tools = {server: list(its) for server, its in seen.items()}
    edit = Edit(name=name, version=row.version, body=body, seen=tools, values=flow_form.values(body, tools))
    return _page(request, person, edit)


async def edited(request: Request, person: Person) -> Response:
    """Review, and after that Save. Whatever is wrong, what was typed stays."""
    fields = await inputs.form(request, most=FIELDS)
    edit = await _typed(request, person, fields)
    if edit.meanwhile:
        return _page(request, person, edit, 412)
    try:
        written, edit.warnings = await _checked(request, person, edit)
    except Invalid as fault:
        body = flow_form.applied(edit.body, edit.values, edit.seen)
        edit.wrong, edit.error = flow_form.located(fault.message, body)
        edit.hint = fault.hint
        return _page(request, person, edit, fault.status)
    if fields.get("do") != "save" or fields.get("reviewed") != edit.digest or not edit.diff:
        return _page(request, person, edit)
    try:
        await flow_files.store(parts(request), person, written, _onto(edit.version))
    except Fault as fault:
        if fault.code != _CHANGED:
            raise
        return _page(request, person, await _typed(request, person, fields), 412)
    return RedirectResponse(f"/flows/{edit.name}#versions", 303)


async def _typed(request: Request, person: Person, fields: Mapping[str, str]) -> Edit:
    """The form as it came in, on the newest version: where that is another one than it was opened on, only what was
    changed by hand is carried over."""
    given, name = parts(request), request.path_params["name"]
    number = fields.get("version", "")
    if not (number.isascii() and number.isdecimal() and 0 < int(number[:12]) <= MOST):
        raise Invalid("form_invalid", "The form does not say which version it is of.", "Open it again.")
    base, _ = await catalog.read(given.db, person.account_id, name, int(number))
    newest, _ = await catalog.read(given.db, person.account_id, name)
    found = (await known_of(given.db, person.account_id, name)).tools
    seen = {server: list(its) for server, its in found.items()}
    was, now = json.loads(base.body), json.loads(newest.body)
    shown = flow_form.values(was, seen)
    mine = flow_form.typed(fields, shown)
    edit = Edit(name=name, version=newest.version, body=now, seen=seen, values=mine)
    if newest.version != base.number:
        edit.values = flow_form.merged(mine, shown, flow_form.values(now, seen))
        titles = (f"{name} version {base.number}", f"{name} version {newest.version}")
        edit.meanwhile = source.diff(was, now, *titles) or "Only what is not shown here."
    return edit


async def _checked(request: Request, person: Person, edit: Edit) -> tuple[Written, tuple[str, ...]]:
    """The file that the form makes, its difference, and what is odd about it; Invalid says what is wrong."""
    given = parts(request)
    body = flow_form.applied(edit.body, edit.values, edit.seen)
    titles = (f"{edit.name} version {edit.version}", f"{edit.name} version {edit.version + 1}")
    edit.diff = source.diff(edit.body, body, *titles)
    edit.digest = canonical.digest(body)
    written = source.read(source.dump(body))
    if written.flow.name != edit.name:
        raise Invalid("flow_invalid", "A form does not rename a flow.")
    odd = review(written, given.known, await known_of(given.db, person.account_id, edit.name))
    return written, tuple(flow_form.located(text, body)[1] for text in odd)


def _onto(version: int) -> flow_files.Check:
    def check(now: int) -> None:
        if now != version:
            raise asgi.refusal(412, _CHANGED, f"The flow is at version {now} by now.", "Look at the changes again.")

    return check


def _page(request: Request, person: Person, edit: Edit, status: int = 200) -> Response:
    known = parts(request).known
    rows = flow_form.rows(edit.body, edit.seen)
    servers = {
        server: [row for row in rows if row.server == server] for server in dict.fromkeys(r.server for r in rows)
    }
    options = {
        "agent.runtime": flow_form.RUNTIMES,
        "agent.model": known.names("model"),
        "justification": flow_form.JUSTIFICATIONS,
        "group": ["", *known.names("group")],
        **flow_form.CHOICES,
    }
    return page(
        request,
        "flow_edit.html",
        person,
        status=status,
        edit=edit,
        servers=servers,
        options=options,
        causes=flow_form.CAUSES,
        advanced=_advanced(edit),
    )


def _advanced(edit: Edit) -> bool:
    """Is there something to see in what is folded?"""
    folded = ("limits.", "retries.", "on_")
    shown = flow_form.values(edit.body, edit.seen)
    changed = any(edit.values[name] != value for name, value in shown.items() if name.startswith(folded))
    return changed or edit.wrong.startswith(folded)


routes = [
    Route("/flows/{name}/edit", auth.shown(edit_page, Role.OPERATOR), methods=["GET"]),
    Route("/flows/{name}/edit", auth.shown(edited, Role.OPERATOR), methods=["POST"]),
]
