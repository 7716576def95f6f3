"""Deliveries of GitLab's webhooks as events. Pure. Fields: docs.gitlab.com/user/project/integrations/webhook_events

GitLab gives no author's name but the sender's, so an author is known only where it is the sender.
"""

import re
from typing import Any

from control.flows.triggers import Event, at, branch, link, names, number, text

_ACTIONS = {"open": "opened", "close": "closed", "reopen": "reopened", "merge": "merged", "create": "created"}
_KINDS = {"issue": "issue", "merge_request": "pull_request"}
_ON = {"Issue": "issue", "MergeRequest": "pull_request", "Commit": "commit"}
_BOT = re.compile(r"(project|group)_\d+_bot(_.*)?")
"""docs.gitlab.com/user/project/settings/project_access_tokens#bot-users-for-projects"""
_NONE = "0" * 40


def read(payload: object) -> Event | None:
    """The event of a delivery, by its `object_kind`; None for what starts nothing."""
    kind = text(payload, "object_kind")
    if kind in _KINDS:
        return _thing(_KINDS[kind], payload)
    if kind == "note":
        return _note(payload)
    return _push(payload) if kind == "push" else None


def _same(payload: object, sender: str | None) -> dict[str, Any]:
    """What every delivery says."""
    return {
        "type": "gitlab",
        "repository": text(payload, "project", "path_with_namespace"),
        "sender": sender,
        "bot": bool(sender and _BOT.fullmatch(sender)),
    }


def _thing(event: str, payload: object) -> Event | None:
    """An issue or a merge request, or a label of one."""
    thing = at(payload, "object_attributes")
    action = text(thing, "action")
    if action is None:
        return None
    before, after = (set(names(payload, "title", "changes", "labels", when)) for when in ("previous", "current"))
    label = action == "update" and before != after
    added = sorted(after - before)
    sender = text(payload, "user", "username")
    return Event(
        **_same(payload, sender),
        event="label" if label else "issue" if event == "issue" else "pull_request",
        action=("labeled" if added else "unlabeled") if label else _action(action, thing),
        on=event if label else None,
        author=sender if _is_author(payload, thing) else None,
        number=number(thing, "iid"),
        title=text(thing, "title"),
        body=text(thing, "description"),
        labels=names(payload, "title", "labels"),
        changed=tuple(added or sorted(before - after)) if label else (),
        branch=text(thing, "target_branch"),
        commit=text(thing, "last_commit", "id"),
        url=link(text(thing, "url")),
    )


def _is_author(payload: object, thing: object) -> bool:
    known = number(payload, "user", "id")
    return known is not None and known == number(thing, "author_id")


def _action(action: str, thing: object) -> str:
    """An update with `oldrev` brought commits."""
    if action == "update":
        return "updated" if text(thing, "oldrev") else "edited"
    return _ACTIONS.get(action, action)


def _note(payload: object) -> Event | None:
    note = at(payload, "object_attributes")
    on = _ON.get(text(note, "noteable_type") or "")
    if on is None:
        return None
    thing = at(payload, "issue") or at(payload, "merge_request")
    action = text(note, "action") or "create"
    sender = text(payload, "user", "username")
    return Event(
        **_same(payload, sender),
        event="comment",
        action="edited" if action == "update" else _ACTIONS.get(action, action),
        on=on,
        author=sender if _is_author(payload, note) else None,
        number=number(thing, "iid"),
        title=text(thing, "title"),
        body=text(note, "note"),
        labels=names(thing, "title", "labels"),
        branch=text(thing, "target_branch"),
        commit=text(payload, "commit", "id") or text(thing, "last_commit", "id"),
        url=link(text(note, "url")),
    )


def _push(payload: object) -> Event | None:
    """A push to a branch; tags start nothing."""
    target, after = branch(text(payload, "ref")), text(payload, "after")
    if target is None or after is None:
        return None
    created = text(payload, "before") == _NONE
    commits = at(payload, "commits")
    head = next((one for one in commits if text(one, "id") == after), None) if isinstance(commits, list) else None
    sender = text(payload, "user_username")
    return Event(
        **_same(payload, sender),
        event="push",
        action="deleted" if after == _NONE else "created" if created else "pushed",
        author=sender,
        title=text(head, "message"),
        branch=target,
        commit=None if after == _NONE else after,
        url=link(text(head, "url")),
    )
