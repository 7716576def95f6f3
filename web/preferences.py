"""The settings pages: what is in force and where it came from, and the forms that change the account or oneself.

Everybody has their password here; what an operator and an admin set is for admins. Neighbours: `in_force` is the same
through REST, `users` and `tokens` have pages below this one.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from control.identity import people
from control.identity.principals import Person, Role
from control.tables import users
from kit.asgi import bearer
from kit.db import Database
from kit.errors import Fault, Refused
from web import auth, charts, in_force, inputs
from web.parts import parts
from web.render import page

NONE: Mapping[str, str] = MappingProxyType({})
DAYS = {
    "logs_days": "Logs",
    "payloads_days": "Payloads and prompts",
    "results_days": "Arguments, results and artifacts",
    "bodies_days": "Bodies of model calls",
}
TABLES = ("models", "budgets", "servers", "approvers", "groups", "plans", "git")
"""Sections that may be empty, and are one value then."""
CLASSES = {"logs": "Logs", "payloads": "Payloads", "results": "Results", "bodies": "Bodies"}


async def settings_page(request: Request, person: Person) -> Response:
    return await _page(request, person)


async def _page(
    request: Request, person: Person, fault: Fault | None = None, filled: Mapping[str, str] = NONE
) -> Response:
    """`filled` is what a refused form had, and `fault` stands beside it."""
    configured = await in_force.get_settings(request, person) if person.may(Role.ADMIN) else None
    values: dict[str, Any] = {"fault": fault, "filled": filled, "form": filled.get("form", "")}
    values |= {"password": await _has_password(parts(request).db, person.user_id), "configured": configured}
    values |= {"shortest": people.SHORTEST, "done": request.query_params.get("done", "")}
    if configured is not None:
        values |= _told(configured, filled)
    return page(request, "settings.html", person, status=fault.status if fault else 200, **values)


def _told(configured: in_force.Configured, filled: Mapping[str, str]) -> dict[str, Any]:
    """Sections of settings, the fields of retention as text, and the meter."""
    kept, used = configured.account.retention, configured.account.storage
    said = {name: _said(name, getattr(kept, name)) for name in (*DAYS, "keep")}
    words = {name: "" if value is None else str(value) for name, value in said.items()}
    sections: dict[str, list[in_force.Setting]] = {}
    for setting in configured.settings:
        sections.setdefault(_section(setting), []).append(setting)
    whole = max(used.bytes, used.limit or 0)
    return {
        "sections": sections,
        "kept": words | {name: value for name, value in filled.items() if name in words},
        "days": DAYS,
        "classes": CLASSES,
        "meter": charts.shares(used.by_class, whole),
    }


def _section(setting: in_force.Setting) -> str:
    """Of preloop.toml; what stands above its first one is in '' there."""
    section, dot, _ = setting.key.partition(".")
    return section if dot or section in TABLES else ""


async def _has_password(db: Database, user_id: str) -> bool:
    rows = await db.read(sa.select(users.c.password_hash).where(users.c.id == user_id))
    return bool(rows and rows[0].password_hash)


async def kept(request: Request, person: Person) -> Response:
    """Retention as an admin wants it; an empty field keeps for ever, `file` follows preloop.toml again. What stays as
    it is in force is not taken for the account's own."""
    fields = await inputs.form(request)
    try:
        if fields.get("file"):
            await in_force.change(request, person, in_force.AccountChange(retention=None))
        else:
            now = (await in_force.get_settings(request, person)).account.retention
            wanted = {name: _wanted(name, fields.get(name, "")) for name in (*DAYS, "keep")}
            if own := {name: value for name, value in wanted.items() if value != _said(name, getattr(now, name))}:
                await in_force.change(request, person, in_force.AccountChange(retention=own))
    except Fault as fault:
        return await _page(request, person, fault, {**fields, "form": "retention"})
    return RedirectResponse("/settings?done=retention#retention", 303)


def _wanted(name: str, text: str) -> int | str | None:
    """As REST takes it: days as a number, a size as '10g'; what is neither is left for the rules to refuse."""
    text = text.strip().lower()[:40]
    number = text.isascii() and text.isdecimal() and len(text) < 19
    return None if not text else int(text) if number else text


def _said(name: str, value: int | None) -> int | str | None:
    """What is in force as `_wanted` reads it back: '10g', '512m', else bytes."""
    if name != "keep" or value is None or value % (1 << 20):
        return value
    return f"{value >> 20}m" if value % (1 << 30) else f"{value >> 30}g"


async def changed(request: Request, person: Person) -> Response:
    fields = await inputs.form(request)
    try:
        asked = in_force.AccountChange(
            plan=fields.get("plan", "")[:100], time_zone=fields.get("time_zone", "").strip()[:64]
        )
        await in_force.change(request, person, asked)
    except Fault as fault:
        return await _page(request, person, fault, {**fields, "form": "account"})
    return RedirectResponse("/settings?done=account#account", 303)


async def password(request: Request, person: Person) -> Response:
    """Of whoever is signed in, in a browser: a token of a program does not change how its person signs in."""
    if bearer(request.headers) is not None:
        raise Refused("cookie_needed", "A password is changed in a browser.", "Sign in and open Settings.")
    fields = await inputs.form(request)
    old, new = fields.get("old", "")[: people.LONGEST], fields.get("new", "")[: people.LONGEST + 1]
    keep = request.cookies.get(auth.cookie_name(request), "")
    try:
        async with auth.hashing:
            await people.set_password(parts(request).db, person.user_id, old=old, new=new, keep=keep)
    except Fault as fault:
        return await _page(request, person, fault, {"form": "password"})
    return RedirectResponse("/settings?done=password#you", 303)


routes = [
    Route("/settings", auth.shown(settings_page), methods=["GET"]),
    Route("/settings/retention", auth.shown(kept, Role.ADMIN), methods=["POST"]),
    Route("/settings/account", auth.shown(changed, Role.ADMIN), methods=["POST"]),
    Route("/settings/password", auth.shown(password), methods=["POST"]),
]
