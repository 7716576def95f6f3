"""What a pressed form, or a REST body, says about a request: the verdict, changed arguments, a standing yes."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from starlette.requests import Request

from control.approvals import confirming
from control.approvals.confirming import Brought
from control.approvals.desk import Decided, Verdict
from control.approvals.directory import Approver
from control.approvals.standing import Scope
from control.identity.principals import Person
from kit import canonical
from kit.db import Tx
from kit.errors import Invalid, Refused
from web import approval_reading, inputs
from web.arguments import restored
from web.parts import Parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Pressed:
    """`arguments` is the edited JSON, its secrets still masked; None when they were not to be changed. `definition` and
    `rule` are what a page showed; a program that sends none looked at the digest alone."""

    verdict: Verdict
    reason: str
    digest: str
    typed: str = ""
    definition: str | None = None
    rule: str | None = None
    arguments: Any = None
    standing: Scope | None = None


def read(fields: Mapping[str, str]) -> Pressed:
    """A form's fields, or Invalid in words for the person who filled them in."""
    verdict = inputs.choice(fields.get("verdict", ""), Verdict)
    approves = verdict is Verdict.APPROVED
    return Pressed(
        verdict=verdict,
        reason=_reason(fields),
        digest=fields.get("digest", ""),
        typed=fields.get("typed", ""),
        definition=fields.get("definition", ""),
        rule=fields.get("rule", ""),
        arguments=canonical.parse(fields["arguments"]) if approves and "arguments" in fields else None,
        standing=_standing(fields) if approves else None,
    )


def _reason(fields: Mapping[str, str]) -> str:
    """One of the reasons offered, words of one's own, or both."""
    return ": ".join(text for name in ("preset", "reason") if (text := fields.get(name, "").strip()))[:2000]


def _standing(fields: Mapping[str, str]) -> Scope | None:
    kind = fields.get("standing", "")
    if kind not in ("exact", "tool"):
        return None
    condition = fields.get("condition", "").strip() if kind == "tool" else ""
    return Scope(
        exact=kind == "exact",
        condition=condition or None,
        uses=_count(fields, "uses", "calls"),
        lasts=timedelta(minutes=_count(fields, "minutes", "minutes")),
    )


def _count(fields: Mapping[str, str], name: str, what: str) -> int:
    text = fields.get(name, "").strip()
    if not (text.isascii() and text.isdecimal() and len(text) < 6):
        raise Invalid("form_invalid", f"How many {what}? {text[:20]!r} is no number.", "Nothing was decided.")
    return int(text)


def known_approver(given: Parts, person: Person) -> Approver | None:
    """The approver of preloop.toml that this person is, by e-mail address."""
    known = given.desk.directory.approvers.values()
    return next((a for a in known if a.email and a.email.lower() == person.email.lower()), None)


def approver_of(given: Parts, person: Person) -> Approver:
    """The same, or Refused."""
    approver = known_approver(given, person)
    if approver is None:
        raise Refused("not_an_approver", f"{person.email} is no approver.", "An admin adds approvers to preloop.toml.")
    return approver


def came_from(request: Request, how: str) -> str:
    """How and from where a verdict came, for the record."""
    browser = request.headers.get("user-agent", "")[:80]
    return f"{how} from {address(request)}" + (f" ({browser})" if browser else "")


def address(request: Request) -> str:
    return request.client.host if request.client else "unknown"


async def decide(
    given: Parts, account_id: str, approval_id: str, pressed: Pressed, *, approver: str, via: str, by_link: bool = False
) -> Decided:
    """Hand a person's verdict to the desk; masks in edited arguments become the secrets they stand for."""
    changed = None
    if pressed.arguments is not None:
        if not isinstance(pressed.arguments, dict):
            raise Invalid("arguments_invalid", "Arguments are a JSON object.", "Nothing was decided.")
        asked = await approval_reading.detail(given.db, account_id, approval_id)
        changed = restored(pressed.arguments, asked.whole_arguments)
    brought = Brought(by_link=by_link, typed=pressed.typed, definition=pressed.definition, rule=pressed.rule)

    def unit(tx: Tx) -> Decided:
        approves = pressed.verdict is Verdict.APPROVED
        confirming.check(tx, account_id, approval_id, brought, approves=approves, changed=changed)
        return given.desk.decide(
            tx,
            account_id,
            approval_id,
            approver=approver,
            verdict=pressed.verdict,
            reason=pressed.reason,
            digest=pressed.digest,
            via=via,
            changed=changed,
            grant=pressed.standing,
        )

    return await given.db.write(unit)
