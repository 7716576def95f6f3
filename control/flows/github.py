"""Deliveries of GitHub's webhooks as events. Pure. Fields: docs.github.com/en/webhooks/webhook-events-and-payloads"""

from typing import Any

from control.flows.triggers import Event, at, branch, link, names, number, text

_ACTIONS = {"synchronize": "updated"}
_ON = {"issues": "issue", "pull_request": "pull_request"}


def read(kind: str, payload: object) -> Event | None:
    """The event of a delivery whose `X-GitHub-Event` is `kind`; None for what starts nothing."""
    if kind in _ON:
        return _thing(_ON[kind], payload)
    if kind in ("issue_comment", "pull_request_review_comment", "commit_comment"):
        return _comment(payload)
    return _push(payload) if kind == "push" else None


def _same(payload: object) -> dict[str, Any]:
    """What every delivery says."""
    return {
        "type": "github",
        "repository": text(payload, "repository", "full_name"),
        "sender": text(payload, "sender", "login"),
        "bot": text(payload, "sender", "type") == "Bot",
    }


def _thing(on: str, payload: object) -> Event | None:
    """An issue or a pull request, or a label of one."""
    thing, action = at(payload, on), text(payload, "action")
    if thing is None or action is None:
        return None
    merged = action == "closed" and at(thing, "merged") is True
    label = action in ("labeled", "unlabeled")
    changed = text(payload, "label", "name")
    return Event(
        **_same(payload),
        **_about(thing),
        event="label" if label else "issue" if on == "issue" else "pull_request",
        action="merged" if merged else _ACTIONS.get(action, action),
        on=on if label else None,
        author=text(thing, "user", "login"),
        author_association=text(thing, "author_association"),
        body=text(thing, "body"),
        changed=(changed,) if label and changed else (),
        commit=text(thing, "head", "sha"),
        url=link(text(thing, "html_url")),
    )


def _about(thing: object) -> dict[str, Any]:
    return {
        "number": number(thing, "number"),
        "title": text(thing, "title"),
        "labels": names(thing, "name", "labels"),
        "branch": text(thing, "base", "ref"),
    }


def _comment(payload: object) -> Event | None:
    comment, action = at(payload, "comment"), text(payload, "action")
    if comment is None or action is None:
        return None
    thing = at(payload, "pull_request") or at(payload, "issue")
    of_request = at(payload, "pull_request") is not None or at(thing, "pull_request") is not None
    return Event(
        **_same(payload),
        **_about(thing),
        event="comment",
        action=action,
        on="pull_request" if of_request else "issue" if thing is not None else "commit",
        author=text(comment, "user", "login"),
        author_association=text(comment, "author_association"),
        body=text(comment, "body"),
        commit=text(comment, "commit_id"),
        url=link(text(comment, "html_url")),
    )


def _push(payload: object) -> Event | None:
    """A push to a branch; tags start nothing."""
    target = branch(text(payload, "ref"))
    if target is None:
        return None
    action = next((word for word in ("created", "deleted") if at(payload, word) is True), "pushed")
    gone = action == "deleted"
    return Event(
        **_same(payload),
        event="push",
        action=action,
        author=text(payload, "pusher", "name"),
        title=text(payload, "head_commit", "message"),
        branch=target,
        commit=None if gone else text(payload, "after"),
        url=link(text(payload, "head_commit", "url") or text(payload, "compare")),
    )
