"""What starts a flow: the `triggers` of its file, and whether an event of a code host passes their filters. Pure.

`github` and `gitlab` beside this file turn deliveries into an `Event`, one vocabulary for both. An event without what a
filter asks for does not pass it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Annotated, Any, Literal

import re2
from pydantic import BaseModel, ConfigDict, Field, model_validator

from control.flows import schedule

Kind = Literal["issue", "pull_request", "comment", "push", "label"]
"""A merge request of GitLab is a `pull_request`; `label` is one that was put on or taken off an issue or a request."""
Association = Literal[
    "OWNER", "MEMBER", "COLLABORATOR", "CONTRIBUTOR", "FIRST_TIME_CONTRIBUTOR", "FIRST_TIMER", "MANNEQUIN", "NONE"
]
"""docs.github.com/en/graphql/reference/enums#commentauthorassociation"""
MEMBERS: tuple[Association, ...] = ("OWNER", "MEMBER", "COLLABORATOR")
ACTIONS: dict[str, tuple[str, ...]] = {
    "issue": ("opened", "reopened"),
    "pull_request": ("opened", "reopened", "updated"),
    "comment": ("created",),
    "push": ("pushed", "created"),
    "label": ("labeled",),
}
"""What a trigger without `actions` is started by. `updated` is new commits, `edited` a changed text."""
SENDERS = ("github", "gitlab")
_FILTERS = ("events", "actions", "labels", "branches", "repositories", "authors", "author_association")
_TIMES = ("cron", "zone", "missed")
Word = Annotated[str, Field(min_length=1, max_length=200)]
Words = Annotated[tuple[Word, ...], Field(min_length=1, max_length=50)]


class Trigger(BaseModel):
    """One entry of `triggers`; the keys of a type are refused at the others."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    type: Literal["webhook", "github", "gitlab", "schedule", "manual"]
    """What starts a run."""
    events: tuple[Kind, ...] = ()
    """github, gitlab: of which kind; a merge request is a pull_request, a label one put on or taken off either."""
    actions: Words | None = None
    """github, gitlab: what happened to it; without it opened, reopened, updated, created, pushed and labeled."""
    labels: Words | None = None
    """github, gitlab: one of these is on it; for a label event, it is one of these."""
    branches: Words | None = None
    """github, gitlab: where a push went, or a request is to be merged; * is anything but a slash, ** anything."""
    repositories: Words | None = None
    """github, gitlab: owner/name, with the same wildcards."""
    authors: Words | None = None
    """github, gitlab: user names of who did it."""
    author_association: tuple[Association, ...] | Literal["any"] | None = None
    """github: what its author is to the repository; without it OWNER, MEMBER or COLLABORATOR. gitlab: only any."""
    cron: str = ""
    """schedule: five fields, as in crontab."""
    zone: str = "UTC"
    """schedule: the time zone its hours are of, as Europe/Berlin."""
    missed: Literal["run_once", "skip"] = "run_once"
    """schedule: what becomes of the times when nothing could run: one run for all of them, or none."""

    @model_validator(mode="after")
    def _of_its_type(self) -> "Trigger":
        own = _FILTERS if self.type in SENDERS else _TIMES if self.type == "schedule" else ()
        if foreign := sorted(self.model_fields_set - {"type", *own}):
            takes = ", ".join(own) or "nothing more"
            raise ValueError(f"a {self.type} trigger has no {foreign[0]}; it takes {takes}")
        if self.type == "schedule":
            schedule.check(self.cron, self.zone)
        if self.type in SENDERS and not self.events:
            raise ValueError(f"a {self.type} trigger names its events, some of {', '.join(ACTIONS)}")
        if self.type == "gitlab":
            self._says_who()
        return self

    def _says_who(self) -> None:
        if self.author_association not in (None, "any"):
            raise ValueError("GitLab doesn't say who is a member; name authors, or write author_association: any")
        if self.author_association is None and not self.authors and set(self.events) != {"push"}:
            raise ValueError("GitLab doesn't say who is a member; name authors, or write author_association: any")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What happened at a code host; None where its delivery doesn't say."""

    type: Literal["github", "gitlab"]
    event: Kind
    action: str
    repository: str | None
    """owner/name"""
    sender: str | None
    """The user name of who did it,"""
    bot: bool = False
    """and whether that is a program."""
    author: str | None = None
    """Who wrote the issue, the request or the comment."""
    author_association: str | None = None
    on: str | None = None
    """What a comment or a label is on: issue, pull_request or commit."""
    number: int | None = None
    title: str | None = None
    body: str | None = None
    labels: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    """The labels that a `label` event is about."""
    branch: str | None = None
    """Where a push went, or a request is to be merged."""
    commit: str | None = None
    url: str | None = None
    """https, to the issue, the request, the comment or the commit."""


def keys(triggers: Sequence[Trigger]) -> list[str]:
    """What `trigger_event` can hold in runs of a flow with these triggers; anybody may start it by hand as well."""
    found = {"type": None, "payload": None}
    for trigger in triggers:
        if trigger.type in SENDERS:
            found |= dict.fromkeys((*(field.name for field in fields(Event)), "delivery"))
        elif trigger.type == "schedule":
            found |= dict.fromkeys(("cron", "zone", "scheduled_at", "missed"))
    return list(found)


def matches(trigger: Trigger, event: Event) -> bool:
    """Does this event start a flow with this trigger?"""
    actions = trigger.actions or ACTIONS[event.event]
    return (
        trigger.type == event.type
        and event.event in trigger.events
        and event.action in actions
        and _one_of(trigger.repositories, event.repository, fold=True)
        and _one_of(trigger.branches, event.branch)
        and (trigger.labels is None or bool(set(trigger.labels) & set(_labels(event))))
        and _is_let_in(trigger, event)
    )


def _labels(event: Event) -> tuple[str, ...]:
    return event.changed if event.event == "label" else event.labels


def _is_let_in(trigger: Trigger, event: Event) -> bool:
    """May whoever is behind this event start an agent? Who pushes may write to the repository, so needs no more."""
    named = trigger.authors is not None and (event.sender or "").lower() in {name.lower() for name in trigger.authors}
    if event.sender is None or (trigger.authors is not None and not named) or (event.bot and not named):
        return False
    if event.event == "push" or trigger.author_association == "any":
        return True
    if event.type == "gitlab":
        return named
    return event.author_association in (trigger.author_association or MEMBERS)


def _one_of(patterns: Sequence[str] | None, name: str | None, *, fold: bool = False) -> bool:
    if patterns is None:
        return True
    return name is not None and any(_pattern(pattern, fold).fullmatch(name) for pattern in patterns)


@lru_cache(1024)
def _pattern(pattern: str, fold: bool) -> Any:  # noqa: ANN401 - RE2's binding has no types
    """`*` is anything but a slash, `**` anything; everything else is itself."""
    plain = {"*": "[^/]*", "**": ".*"}
    text = "".join(plain.get(part) or re2.escape(part) for part in re.split(r"(\*{1,2})", pattern))
    return re2.compile(f"(?i){text}" if fold else text)


def text(payload: object, *path: str) -> str | None:
    """The text at a path of a payload; None when there is none."""
    found = at(payload, *path)
    return found if isinstance(found, str) and found else None


def at(payload: object, *path: str) -> object:
    """What is at a path of a payload; None when nothing is."""
    for key in path:
        payload = payload.get(key) if isinstance(payload, dict) else None
    return payload


def number(payload: object, *path: str) -> int | None:
    found = at(payload, *path)
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def names(payload: object, key: str, *path: str) -> tuple[str, ...]:
    """One text of each object of the list at a path."""
    found = at(payload, *path)
    texts = (text(item, key) for item in found) if isinstance(found, list) else ()
    return tuple(name for name in texts if name)


def link(address: str | None) -> str | None:
    """An address that a page may link to: https only."""
    fits = address is not None and address.startswith("https://") and len(address) <= 2000 and address.isprintable()
    return address if fits else None


def branch(ref: str | None) -> str | None:
    """refs/heads/x → x; None for tags."""
    return ref.removeprefix("refs/heads/") if ref is not None and ref.startswith("refs/heads/") else None
