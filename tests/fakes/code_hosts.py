"""Deliveries as GitHub and GitLab send them, cut to the fields that their references name for every delivery and those
that flows read."""

import copy
from typing import Any

REPOSITORY = {
    "id": 187210911,
    "name": "shop",
    "full_name": "acme/shop",
    "private": True,
    "owner": {"login": "acme", "id": 7101, "type": "Organization"},
    "html_url": "https://github.com/acme/shop",
    "default_branch": "main",
}
MAYA = {"login": "maya-lin", "id": 5120, "type": "User", "html_url": "https://github.com/maya-lin"}
ISSUE = {
    "id": 2205512,
    "number": 42,
    "title": "Checkout fails for carts above 100 lines",
    "html_url": "https://github.com/acme/shop/issues/42",
    "user": MAYA,
    "labels": [{"id": 31, "name": "bug", "color": "d73a4a"}],
    "state": "open",
    "body": "It answers 500.",
    "author_association": "MEMBER",
    "updated_at": "2026-03-02T10:15:00Z",
}
REQUEST = {
    "id": 91001,
    "number": 57,
    "title": "Raise the limit of cart lines",
    "html_url": "https://github.com/acme/shop/pull/57",
    "user": MAYA,
    "labels": [],
    "body": "Fixes #42.",
    "merged": False,
    "author_association": "COLLABORATOR",
    "base": {"ref": "release/2026.1", "sha": "b" * 40},
    "head": {"ref": "cart-lines", "sha": "c" * 40},
}
COMMENT = {
    "id": 88310,
    "html_url": "https://github.com/acme/shop/issues/42#issuecomment-88310",
    "user": MAYA,
    "body": "/fix this please",
    "author_association": "OWNER",
}
COMMIT = {"id": "d" * 40, "message": "Count lines once", "url": f"https://github.com/acme/shop/commit/{'d' * 40}"}

GITLAB_PROJECT = {
    "id": 15,
    "name": "Shop",
    "web_url": "https://gitlab.example.com/acme/shop",
    "path_with_namespace": "acme/shop",
    "default_branch": "main",
}
GITLAB_USER = {"id": 5120, "name": "Maya Lin", "username": "maya-lin", "email": "[REDACTED]"}
GITLAB_LABEL = {"id": 31, "title": "bug", "color": "#d73a4a", "project_id": 15, "type": "ProjectLabel"}


def github(action: str, **parts: Any) -> dict[str, Any]:
    """What every delivery of GitHub has, and its own parts."""
    return copy.deepcopy({"action": action, "repository": REPOSITORY, "sender": MAYA} | parts)


def issue(action: str = "opened", **changes: Any) -> dict[str, Any]:
    return github(action, issue=ISSUE | changes)


def labeled(name: str = "agent", action: str = "labeled", **changes: Any) -> dict[str, Any]:
    return issue(action, **changes) | {"label": {"id": 32, "name": name, "color": "0e8a16"}}


def request(action: str = "opened", **changes: Any) -> dict[str, Any]:
    return github(action, number=57, pull_request=REQUEST | changes)


def comment(action: str = "created", **changes: Any) -> dict[str, Any]:
    return github(action, issue=ISSUE, comment=COMMENT | changes)


def push(ref: str = "refs/heads/main", **changes: Any) -> dict[str, Any]:
    body = {"ref": ref, "before": "a" * 40, "after": "d" * 40, "created": False, "deleted": False, "forced": False}
    told = {"compare": "https://github.com/acme/shop/compare/aaa...ddd", "commits": [COMMIT], "head_commit": COMMIT}
    who = {"pusher": {"name": "maya-lin", "email": "maya@example.com"}, "sender": MAYA, "repository": REPOSITORY}
    return copy.deepcopy(body | told | who | changes)


def ping() -> dict[str, Any]:
    hook = {"type": "Repository", "id": 4411, "active": True, "events": ["issues"]}
    return {"zen": "Keep it logically awesome.", "hook_id": 4411, "hook": hook, "repository": REPOSITORY}


def gitlab(kind: str, attributes: dict[str, Any], **parts: Any) -> dict[str, Any]:
    """What every delivery of GitLab about an object has, and its own parts."""
    same = {"object_kind": kind, "event_type": kind, "user": GITLAB_USER, "project": GITLAB_PROJECT}
    return copy.deepcopy(same | {"object_attributes": attributes, "labels": [GITLAB_LABEL], "changes": {}} | parts)


def gitlab_issue(action: str = "open", *, parts: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    url = "https://gitlab.example.com/acme/shop/-/issues/42"
    own = {"id": 301, "iid": 42, "title": "Checkout fails", "description": "It answers 500.", "author_id": 5120}
    return gitlab("issue", own | {"state": "opened", "url": url, "action": action} | changes, **parts or {})


def gitlab_labels(previous: list[str], current: list[str]) -> dict[str, Any]:
    """An update that changed labels."""
    told = {"previous": [GITLAB_LABEL | {"title": name} for name in previous]}
    told |= {"current": [GITLAB_LABEL | {"title": name} for name in current]}
    times = {"previous": "2026-03-02 10:15:00 UTC", "current": "2026-03-02 10:16:00 UTC"}
    parts = {"labels": told["current"], "changes": {"labels": told, "updated_at": times}}
    return gitlab_issue("update", parts=parts)


def merge_request(action: str = "open", **changes: Any) -> dict[str, Any]:
    url = "https://gitlab.example.com/acme/shop/-/merge_requests/57"
    own = {"id": 99, "iid": 57, "title": "Raise the limit", "description": "", "author_id": 5120, "url": url}
    refs = {"source_branch": "cart-lines", "target_branch": "main", "last_commit": {"id": "c" * 40}}
    return gitlab("merge_request", own | refs | {"state": "opened", "action": action} | changes)


def note(on: str = "Issue", **changes: Any) -> dict[str, Any]:
    own = {"id": 1241, "note": "/fix this please", "noteable_type": on, "author_id": 5120, "action": "create"}
    url = "https://gitlab.example.com/acme/shop/-/issues/42#note_1241"
    thing = {"id": 301, "iid": 42, "title": "Checkout fails", "labels": [GITLAB_LABEL]}
    return gitlab("note", own | {"url": url} | changes, issue=thing)


def gitlab_push(ref: str = "refs/heads/main", **changes: Any) -> dict[str, Any]:
    commit = COMMIT | {"url": f"https://gitlab.example.com/acme/shop/-/commit/{'d' * 40}"}
    body = {"object_kind": "push", "event_name": "push", "ref": ref, "before": "a" * 40, "after": "d" * 40}
    who = {"user_id": 5120, "user_name": "Maya Lin", "user_username": "maya-lin", "project": GITLAB_PROJECT}
    return copy.deepcopy(body | who | {"commits": [commit], "total_commits_count": 1} | changes)
