"""Deliveries of code hosts as events of one vocabulary, and what the filters of triggers let through."""

from typing import Any

import pytest
import yaml

from control.flows import github, gitlab, triggers
from control.flows.triggers import Event, Trigger
from tests.fakes import code_hosts as sent
from tests.house.plan import ROOT

BOT = {"login": "renovate[bot]", "id": 9, "type": "Bot"}
STRANGER = {"author_association": "NONE"}


def event(kind: str, payload: dict[str, Any]) -> Event:
    found = github.read(kind, payload)
    assert found is not None
    return found


def of_gitlab(payload: dict[str, Any]) -> Event:
    found = gitlab.read(payload)
    assert found is not None
    return found


def starts(found: Event, **filters: Any) -> bool:
    """Is a flow started whose trigger names all events and has these filters?"""
    events = tuple(triggers.ACTIONS)
    return triggers.matches(Trigger.model_validate({"type": found.type, "events": events} | filters), found)


@pytest.mark.parametrize(
    ("kind", "payload", "expected"),
    [
        ("issues", sent.issue(), ("issue", "opened", 42, None, "bug", "issues/42")),
        ("issues", sent.issue("edited"), ("issue", "edited", 42, None, "bug", "issues/42")),
        ("issues", sent.labeled(), ("label", "labeled", 42, None, "agent", "issues/42")),
        ("issues", sent.labeled(action="unlabeled"), ("label", "unlabeled", 42, None, "agent", "issues/42")),
        ("pull_request", sent.request(), ("pull_request", "opened", 57, "release/2026.1", "", "pull/57")),
        ("pull_request", sent.request("synchronize"), ("pull_request", "updated", 57, "release/2026.1", "", "pull/57")),
        (
            "pull_request",
            sent.request("closed", merged=True),
            ("pull_request", "merged", 57, "release/2026.1", "", "pull/57"),
        ),
        ("pull_request", sent.request("closed"), ("pull_request", "closed", 57, "release/2026.1", "", "pull/57")),
        ("issue_comment", sent.comment(), ("comment", "created", 42, None, "bug", "issues/42#issuecomment-88310")),
        ("push", sent.push(), ("push", "pushed", None, "main", "", f"commit/{'d' * 40}")),
        ("push", sent.push(created=True), ("push", "created", None, "main", "", f"commit/{'d' * 40}")),
        (
            "push",
            sent.push("refs/heads/a/b", deleted=True, head_commit=None),
            ("push", "deleted", None, "a/b", "", "compare/aaa...ddd"),
        ),
    ],
)
def test_github_s_deliveries_become_events(kind: str, payload: dict[str, Any], expected: tuple[Any, ...]) -> None:
    found = event(kind, payload)
    labels = ",".join(found.changed if found.event == "label" else found.labels)
    told = (found.event, found.action, found.number, found.branch, labels)
    assert (*told, (found.url or "").removeprefix("https://github.com/acme/shop/")) == expected
    assert (found.repository, found.sender, found.bot) == ("acme/shop", "maya-lin", False)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (sent.gitlab_issue(), ("issue", "opened", 42, None, "bug", "issues/42")),
        (sent.gitlab_issue("update"), ("issue", "edited", 42, None, "bug", "issues/42")),
        (sent.gitlab_labels(["bug"], ["bug", "agent"]), ("label", "labeled", 42, None, "agent", "issues/42")),
        (sent.gitlab_labels(["bug", "agent"], ["bug"]), ("label", "unlabeled", 42, None, "agent", "issues/42")),
        (sent.merge_request(), ("pull_request", "opened", 57, "main", "bug", "merge_requests/57")),
        (
            sent.merge_request("update", oldrev="e" * 40),
            ("pull_request", "updated", 57, "main", "bug", "merge_requests/57"),
        ),
        (sent.merge_request("update"), ("pull_request", "edited", 57, "main", "bug", "merge_requests/57")),
        (sent.merge_request("merge"), ("pull_request", "merged", 57, "main", "bug", "merge_requests/57")),
        (sent.note(), ("comment", "created", 42, None, "bug", "issues/42#note_1241")),
        (sent.note(action="update"), ("comment", "edited", 42, None, "bug", "issues/42#note_1241")),
        (sent.gitlab_push(), ("push", "pushed", None, "main", "", f"commit/{'d' * 40}")),
        (sent.gitlab_push(before="0" * 40), ("push", "created", None, "main", "", f"commit/{'d' * 40}")),
        (sent.gitlab_push(after="0" * 40, commits=[]), ("push", "deleted", None, "main", "", "")),
    ],
)
def test_gitlab_s_deliveries_become_the_same_events(payload: dict[str, Any], expected: tuple[Any, ...]) -> None:
    found = of_gitlab(payload)
    labels = ",".join(found.changed if found.event == "label" else found.labels)
    told = (found.event, found.action, found.number, found.branch, labels)
    assert (*told, (found.url or "").removeprefix("https://gitlab.example.com/acme/shop/-/")) == expected
    assert (found.repository, found.sender, found.bot) == ("acme/shop", "maya-lin", False)


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("ping", sent.ping()),
        ("push", sent.push("refs/tags/v1")),
        ("workflow_run", sent.github("completed")),
        ("issues", {"action": "opened"}),
        ("issues", sent.issue() | {"action": 5}),
        ("issue_comment", {}),
        ("pull_request", [1, 2]),
        ("push", {"ref": None}),
        ("", "text"),
    ],
)
def test_a_delivery_that_says_nothing_we_know_is_no_event(kind: str, payload: Any) -> None:
    assert github.read(kind, payload) is None
    if kind not in ("issues", "issue_comment", "pull_request"):
        assert gitlab.read(payload) is None


@pytest.mark.parametrize("payload", [{"object_kind": "note"}, {"object_kind": "issue"}, {"object_kind": ["push"]}, 5])
def test_a_delivery_of_gitlab_that_says_nothing_we_know_is_no_event(payload: Any) -> None:
    assert gitlab.read(payload) is None


@pytest.mark.parametrize("url", ["http://github.com/x", "javascript:alert(1)", "https://x/\n", "https://" + "x" * 2000])
def test_a_link_is_https_and_one_line(url: str) -> None:
    assert event("issues", sent.issue(html_url=url)).url is None


def test_on_what_a_comment_is() -> None:
    on_request = sent.comment() | {"issue": sent.ISSUE | {"pull_request": {"url": "https://api.github.com/x"}}}
    review = sent.github("created", pull_request=sent.REQUEST, comment=sent.COMMENT)
    commit = sent.github("created", comment=sent.COMMENT | {"commit_id": "d" * 40})
    assert event("issue_comment", sent.comment()).on == "issue"
    assert event("issue_comment", on_request).on == "pull_request"
    assert event("pull_request_review_comment", review).on == "pull_request"
    assert event("commit_comment", commit).on == "commit"
    assert of_gitlab(sent.note("MergeRequest")).on == "pull_request"


def test_without_actions_only_what_is_new_starts_a_flow() -> None:
    started = {
        action for action in ("opened", "edited", "closed", "reopened") if starts(event("issues", sent.issue(action)))
    }
    assert started == {"opened", "reopened"}
    assert starts(event("issues", sent.issue("closed")), actions=["closed"])
    assert not starts(event("issues", sent.labeled(action="unlabeled")))
    assert not starts(event("issue_comment", sent.comment("deleted")))


@pytest.mark.parametrize(
    ("association", "filters", "expected"),
    [
        *((word, {}, True) for word in triggers.MEMBERS),
        *((word, {}, False) for word in ("CONTRIBUTOR", "FIRST_TIME_CONTRIBUTOR", "FIRST_TIMER", "MANNEQUIN", "NONE")),
        ("", {}, False),
        (None, {}, False),
        ("member", {}, False),
        ("CONTRIBUTOR", {"author_association": ["CONTRIBUTOR"]}, True),
        ("MEMBER", {"author_association": ["CONTRIBUTOR"]}, False),
        ("NONE", {"author_association": "any"}, True),
        ("NONE", {"authors": ["maya-lin"]}, False),
    ],
)
def test_who_is_no_member_starts_nothing_unless_the_flow_says_so(
    association: Any, filters: dict[str, Any], expected: bool
) -> None:
    for kind, payload in (
        ("issues", sent.issue(author_association=association)),
        ("issues", sent.labeled(author_association=association)),
        ("pull_request", sent.request(author_association=association)),
        ("issue_comment", sent.comment(author_association=association)),
    ):
        assert starts(event(kind, payload), **filters) is expected


def test_authors_are_who_did_it_in_any_spelling() -> None:
    found = event("issues", sent.issue())
    assert starts(found, authors=["someone", "Maya-Lin"])
    assert not starts(found, authors=["someone"])
    assert not starts(event("issues", sent.issue() | {"sender": {}}), author_association="any")


def test_what_a_program_does_starts_nothing_unless_it_is_named() -> None:
    found = event("issue_comment", sent.comment() | {"sender": BOT})
    assert not starts(found)
    assert not starts(found, author_association="any")
    assert starts(found, authors=["renovate[bot]"])
    robot = of_gitlab(sent.note() | {"user": sent.GITLAB_USER | {"username": "project_15_bot_4f9a"}})
    assert not starts(robot, author_association="any")


def test_gitlab_says_nothing_of_members_so_a_flow_names_people_or_lets_anybody_in() -> None:
    for payload in (sent.gitlab_issue(), sent.merge_request(), sent.note(), sent.gitlab_labels([], ["agent"])):
        assert starts(of_gitlab(payload), authors=["maya-lin"])
        assert not starts(of_gitlab(payload), authors=["somebody-else"])
        assert starts(of_gitlab(payload), author_association="any")
    pushed = triggers.Trigger(type="gitlab", events=("push",))
    assert triggers.matches(pushed, of_gitlab(sent.gitlab_push()))


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("release/2026.1", True),
        ("release/*", True),
        ("release/**", True),
        ("**", True),
        ("*/*", True),
        ("*", False),
        ("release", False),
        ("release/2026*1*", True),
        ("release/2026-1", False),
        ("release/2026?1", False),
        ("RELEASE/*", False),
        ("main", False),
    ],
)
def test_a_star_of_a_branch_stops_at_a_slash_and_two_do_not(pattern: str, expected: bool) -> None:
    assert starts(event("pull_request", sent.request()), branches=[pattern]) is expected


def test_an_event_without_what_a_filter_asks_for_does_not_pass() -> None:
    assert not starts(event("issues", sent.issue()), branches=["**"])
    assert not starts(event("issues", sent.issue() | {"repository": {}}), repositories=["**"])
    assert not starts(event("push", sent.push()), labels=["bug"])


def test_repositories_and_labels() -> None:
    found = event("issues", sent.issue())
    assert starts(found, repositories=["Acme/*"], labels=["bug", "other"])
    assert not starts(found, repositories=["acme"])
    assert not starts(found, labels=["agent"])
    assert starts(event("issues", sent.labeled("agent")), labels=["agent"])
    assert not starts(event("issues", sent.labeled("agent")), labels=["bug"])


def test_events_of_another_kind_or_host_start_nothing() -> None:
    found = event("issues", sent.issue())
    assert not triggers.matches(Trigger(type="github", events=("push",)), found)
    assert not triggers.matches(Trigger(type="gitlab", events=("issue",), author_association="any"), found)


@pytest.mark.parametrize(
    ("trigger", "told"),
    [
        ({"type": "webhook", "labels": ["x"]}, "a webhook trigger has no labels; it takes nothing more"),
        ({"type": "manual", "cron": "* * * * *"}, "a manual trigger has no cron"),
        ({"type": "schedule", "cron": "* * * * *", "events": ["push"]}, "a schedule trigger has no events"),
        ({"type": "github", "events": ["push"], "zone": "UTC"}, "a github trigger has no zone"),
        ({"type": "github"}, "names its events"),
        ({"type": "github", "events": ["merge_request"]}, "'issue', 'pull_request'"),
        ({"type": "github", "events": ["push"], "branches": []}, "at least 1"),
        ({"type": "github", "events": ["issue"], "author_association": ["EVERYBODY"]}, "'OWNER'"),
        ({"type": "gitlab", "events": ["issue"]}, "name authors"),
        ({"type": "gitlab", "events": ["push", "comment"]}, "name authors"),
        ({"type": "gitlab", "events": ["issue"], "author_association": ["MEMBER"]}, "name authors"),
        ({"type": "schedule"}, "no cron line"),
        ({"type": "schedule", "cron": "0 9 * * 8", "zone": "UTC"}, "bad day-of-week"),
        ({"type": "schedule", "cron": "0 9 * * 1", "zone": "Mars/Olympus"}, "no time zone"),
    ],
)
def test_a_trigger_that_can_not_be_is_refused(trigger: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Trigger.model_validate(trigger)


def test_the_triggers_of_the_guide_can_be_written_so() -> None:
    guide = (ROOT / "docs" / "triggers.md").read_text()
    written = yaml.safe_load(guide.split("```yaml")[1].split("```")[0])["triggers"]
    read = [Trigger.model_validate(trigger) for trigger in written]
    assert [trigger.type for trigger in read] == ["manual", "webhook", "github", "gitlab", "schedule"]
