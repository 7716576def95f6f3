"""Verdicts: the product page's own examples word by word, what CLIs and providers really do, and what logs can't do."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from control.executions import diagnosis, suggestions
from control.executions.diagnosis import AgentEnd, Seen, ToolEnd, judge
from control.executions.model_faults import ModelEnd
from control.executions.states import Cause
from control.executions.verdict import Verdict
from tests.house.plan import ROOT

WELL = Seen(exit_code=0, agent_started=True, agent_ended=True, needs_tools=True, tools_listed=True, model_called=True)
MODEL, CREDITS, CUT = Cause.MODEL_ERROR, Cause.CREDITS_EXHAUSTED, Cause.STREAM_CUT
FAILED = ModelEnd(
    answered=False,
    alias="default",
    provider="openai",
    model="gpt-5.1",
    error="upstream_failed",
    stage="upstream",
    status="failed",
)
ANSWERED = ModelEnd(answered=True, alias="default", provider="openai", model="gpt-5.1", status="answered")


def shown(verdict: Verdict) -> str:
    """As the error section of a run's page has it."""
    return f"{verdict.message}\nSuggestion: {verdict.hint}"


def tools(*calls: tuple[str, str, str]) -> tuple[ToolEnd, ...]:
    return tuple(ToolEnd(tool=tool, status=status, error=error) for tool, status, error in calls)


# the page -------------------------------------------------------------------------------------------------------------


def test_the_page_s_tool_execution_error() -> None:
    verdict = judge(replace(WELL, tools=tools(("pay", "failed", "Invalid recipient email address"))))
    assert shown(verdict) == (
        "Tool 'pay' failed with error: Invalid recipient email address\n"
        "Suggestion: Verify the recipient email format in your prompt template"
    )
    assert (verdict.cause, verdict.stage, verdict.tool) == (Cause.TOOL_FAILED, "tool", "pay")


def test_the_page_s_declined_approval() -> None:
    assert shown(diagnosis.declined("pay", "alice@example.com", "Amount exceeds budget for this month")) == (
        "Approval request declined by alice@example.com\n"
        "Reason: Amount exceeds budget for this month\n"
        "Suggestion: Adjust the amount or wait for budget refresh"
    )


def test_the_page_s_agent_timeout() -> None:
    verdict = judge(replace(WELL, exit_code=143, stop_intent=Cause.TIMEOUT))
    assert shown(verdict) == (
        "Execution exceeded maximum time limit (30 minutes)\n"
        "Suggestion: Break down the task into smaller flows or increase timeout"
    )


def test_the_page_s_api_error() -> None:
    verdict = judge(replace(WELL, exit_code=1, models=[replace(FAILED, reason="rate_limited", upstream_status=429)]))
    assert shown(verdict) == (
        "OpenAI API error: Rate limit exceeded\nSuggestion: Wait a few minutes and retry, or upgrade your OpenAI plan"
    )
    assert (verdict.cause, verdict.stage, verdict.model) == (Cause.MODEL_ERROR, "upstream", "default")


@pytest.mark.parametrize(
    ("code", "text", "fix"),
    [
        (
            "tool_not_allowed",
            "Tool 'deploy_production' not found in allowed tools",
            'Edit flow → Tools → Check "deploy_production"',
        ),
        (
            "invalid_arguments",
            "Tool 'pay' failed: required argument 'amount' missing",
            "Update prompt template to provide 'amount' argument",
        ),
    ],
)
def test_the_page_s_refusals(code: str, text: str, fix: str) -> None:
    verdict = judge(replace(WELL, tools=tools(("x", code, text))))
    assert (verdict.cause, verdict.message, verdict.hint) == (Cause(code), text, fix)
    assert suggestions.for_refusal(text) == fix


def test_the_page_s_log_of_a_declined_approval() -> None:
    verdict = diagnosis.declined("pay", "approver", "Budget exceeded")
    assert verdict.told == "Approval declined by approver: Reason: Budget exceeded"
    assert verdict.fix == "Adjust approval workflow or amount"


# tools ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["failed", "tool_not_allowed", "invalid_arguments"])
@pytest.mark.parametrize(("policy", "again", "well"), [("report", "succeeded", True), ("ignore", "", True)])
def test_a_failure_that_was_made_up_for_or_is_ignored_is_none(status: str, policy: str, again: str, well: bool) -> None:
    calls = [("pay", status, "no")] + ([("pay", again, "")] if again else [])
    assert (judge(replace(WELL, tools=tools(*calls), on_tool_error=policy)).cause is None) is well


def test_another_tool_s_success_makes_up_for_nothing() -> None:
    calls = tools(("pay", "failed", "card refused"), ("get_contract", "succeeded", ""))
    assert judge(replace(WELL, tools=calls)).message == "Tool 'pay' failed with error: card refused"


def test_a_server_that_was_not_reached_is_told_once() -> None:
    text = (
        "Tool 'pay' failed: the tool server 'payments' does not answer (refused). It was not called; try again later."
    )
    verdict = judge(replace(WELL, tools=tools(("pay", "failed", text))))
    assert (verdict.cause, verdict.message) == (Cause.TOOL_FAILED, text)
    assert "Start the tool server" in verdict.hint


def test_under_fail_the_message_names_the_tool_that_ended_it() -> None:
    calls = tools(("pay", "failed", "card refused"), ("get_contract", "failed", "gone"))
    verdict = judge(replace(WELL, exit_code=143, stop_intent=Cause.TOOL_FAILED, tools=calls))
    assert (verdict.cause, verdict.message) == (Cause.TOOL_FAILED, "Tool 'pay' failed with error: card refused")


def test_an_outcome_that_nobody_knows_comes_before_whatever_else_went_wrong() -> None:
    calls = tools(("pay", "unknown", ""), ("get_contract", "failed", "gone"))
    verdict = judge(replace(WELL, exit_code=1, tools=calls, models=[FAILED]))
    assert (verdict.cause, verdict.tool) == (Cause.TOOL_OUTCOME_UNKNOWN, "pay")


# models ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seen", "cause", "message", "hint"),
    [
        ({"reason": "credits_exhausted"}, CREDITS, "Out of API credits for model 'default'", "Add credits"),
        ({"reason": "unauthorized"}, MODEL, "The key of model 'default' (gpt-5.1) was refused", "another key"),
        ({"reason": "overloaded"}, MODEL, "Overloaded, model 'default'", "second upstream"),
        ({"reason": "context_length"}, MODEL, "Context length of model 'default'", "Shorten the prompt"),
        ({"reason": "model_unknown"}, MODEL, "There is no model 'default' (gpt-5.1)", "[models.default]"),
        ({"reason": "refused", "message": "It said no."}, MODEL, "It said no. (model 'default'", "another"),
        ({"reason": "failed", "upstream_status": 500}, MODEL, "Status 500 from model 'default'", "Retry"),
        ({}, MODEL, "Nothing was reached for model 'default'", "models check default"),
        ({"error": "upstream_stalled"}, MODEL, "No answer in time from model 'default'", "Retry later"),
        (
            {"error": "upstream_cut", "status": "cut"},
            CUT,
            "The answer of model 'default' (gpt-5.1) broke off",
            "OpenAI",
        ),
        ({"error": "upstream_stalled", "status": "cut"}, CUT, "broke off", "second upstream"),
    ],
)
@pytest.mark.parametrize("code", [0, 1, 145, 244])
def test_a_model_that_broke_last_is_the_cause_whatever_the_cli_made_of_it(
    seen: dict[str, Any], cause: Cause, message: str, hint: str, code: int
) -> None:
    verdict = judge(replace(WELL, exit_code=code, models=[ANSWERED, replace(FAILED, **seen)]))
    assert (verdict.cause, verdict.stage, verdict.provider) == (cause, "upstream", "openai")
    assert verdict.message.startswith("OpenAI API error: ")
    assert message in verdict.message
    assert hint in verdict.hint


BUDGET = "The budget of 2 USD for {} has no room for this call: 1.9 spent, 0 held, up to 0.2 needed."


@pytest.mark.parametrize(
    ("whose", "hint"), [("this run", "limits.budget_usd in the flow"), ("the account", "[[budgets]] in preloop.toml")]
)
def test_our_own_budget_is_not_the_provider_s_credit(whose: str, hint: str) -> None:
    refused = ModelEnd(
        answered=False, alias="default", error="budget_exceeded", stage="budget", message=BUDGET.format(whose)
    )
    verdict = judge(replace(WELL, exit_code=1, models=[ANSWERED, refused]))
    assert (verdict.cause, verdict.stage, verdict.message) == (
        Cause.BUDGET_EXCEEDED,
        "budget",
        BUDGET.format(whose),
    )
    assert hint in verdict.hint


@pytest.mark.parametrize(
    ("error", "cause"),
    [("model_not_found", Cause.MODEL_ERROR), ("hosted_tool_not_allowed", Cause.TOOL_NOT_ALLOWED)],
)
def test_what_never_left_the_house_broke_in_routing(error: str, cause: Cause) -> None:
    refused = ModelEnd(
        answered=False, alias="other", error=error, stage="routing", message="There is no model 'other'."
    )
    verdict = judge(replace(WELL, exit_code=1, models=[refused]))
    assert (verdict.cause, verdict.stage, verdict.message) == (cause, "routing", "There is no model 'other'.")
    assert verdict.hint


OUT_OF_ORDER = ModelEnd(
    answered=False, alias="default", error="upstream_out_of_order", stage="routing", message="Out of order."
)


@pytest.mark.parametrize(
    ("before", "cause", "stage"),
    [
        ([replace(FAILED, reason="credits_exhausted", upstream_status=402)], CREDITS, "upstream"),
        ([replace(FAILED, reason="failed", upstream_status=500), OUT_OF_ORDER], MODEL, "upstream"),
        ([replace(FAILED, alias="other")], MODEL, "routing"),  # says nothing of this alias
        ([FAILED, ANSWERED], MODEL, "routing"),  # was made up for: others of its calls broke
        ([], MODEL, "routing"),
    ],
)
def test_a_model_that_we_left_alone_is_told_by_what_its_provider_said_to_this_run(
    before: list[ModelEnd], cause: Cause, stage: str
) -> None:
    verdict = judge(replace(WELL, exit_code=1, models=[*before, OUT_OF_ORDER]))
    assert (verdict.cause, verdict.stage, verdict.model) == (cause, stage, "default")
    assert verdict.provider == ("openai" if stage == "upstream" else None)


def test_a_call_that_was_answered_after_all_is_forgiven() -> None:
    assert judge(replace(WELL, models=[FAILED, ANSWERED])).cause is None


@pytest.mark.parametrize("error", ["cancelled", "session_ended", "worker_lost"])
def test_a_client_that_left_says_nothing_of_the_model(error: str) -> None:
    left = replace(FAILED, error=error, status="cut", stage="session")
    assert judge(replace(WELL, models=[ANSWERED, left])).cause is None
    assert judge(replace(WELL, exit_code=1, models=[ANSWERED, left])).cause is Cause.AGENT_ERROR
    assert judge(replace(WELL, models=[replace(FAILED, reason="rate_limited"), left])).cause is Cause.MODEL_ERROR


# ends -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seen", "cause", "word"),
    [
        ({"exit_code": 137}, Cause.KILLED, "SIGKILL"),
        ({"exit_code": 143}, Cause.KILLED, "SIGTERM"),
        ({"exit_code": 137, "oom_killed": True}, Cause.OUT_OF_MEMORY, "memory"),
        ({"exit_code": 3}, Cause.AGENT_ERROR, "exit code 3"),
        ({"exit_code": None, "gone": True}, Cause.RUNNER_LOST, "gone"),
        ({"exit_code": 2, "agent_started": False}, Cause.SETUP_FAILED, "exit code 2"),
        ({"tools_listed": False}, Cause.AGENT_UNVERIFIED, "tools"),
        ({"model_called": False}, Cause.AGENT_UNVERIFIED, "model"),
        ({"final": AgentEnd(ok=False), "models": [FAILED]}, Cause.MODEL_ERROR, "OpenAI"),
        ({"waiting": ["pay"]}, Cause.AGENT_ERROR, "'pay'"),
        ({"stop_intent": Cause.CANCELLED}, Cause.CANCELLED, "Cancelled"),
        ({"stop_intent": Cause.TIMEOUT, "timeout_s": 90}, Cause.TIMEOUT, "(90 seconds)"),
        ({"stop_intent": Cause.TIMEOUT, "waited": True}, Cause.TIMEOUT, "(24 hours)"),
    ],
)
def test_every_other_end_names_what_it_was(seen: dict[str, Any], cause: Cause, word: str) -> None:
    verdict = judge(replace(WELL, **seen))
    assert verdict.cause is cause
    assert word in verdict.message
    assert verdict.hint or cause is Cause.CANCELLED


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("write: No space left on device", "disk was full"),
        ("FATAL ERROR: Reached heap limit - JavaScript heap out of memory", "resources.memory"),
        ("fatal: unable to access 'x': Could not resolve host: github.com", "can't reach"),
        ("preloop: init took longer than 5 s (limits.init of the flow)", "Raise limits.init"),
        ("sh: pnpm: command not found", "missing in the image"),
        ("thinking", "The log ends with: thinking"),
        ("mkdir: cannot create directory '/x': Read-only file system", "below its workspace"),
        ("ValueError: amount is negative", "The log says: ValueError: amount is negative"),
    ],
)
def test_the_log_s_end_is_a_suggestion(line: str, hint: str) -> None:
    for seen in (replace(WELL, exit_code=1), replace(WELL, exit_code=1, agent_started=False)):
        assert hint in judge(replace(seen, tail=["started", line, ""])).hint


CORPUS = (Path(__file__).parent / "succeeded.txt").read_text().split("\n---\n")


@pytest.mark.parametrize("output", CORPUS, ids=range(len(CORPUS)))
def test_what_looks_like_a_failure_in_the_output_of_a_success_is_none(output: str) -> None:
    assert re.search(r"(?i)err|fail|traceback|exception|fatal|panic|denied|timed? ?out|killed", output)
    assert judge(replace(WELL, tail=output.splitlines(), models=[ANSWERED])) == Verdict(cause=None)


def test_the_docs_say_of_every_cause_what_to_do() -> None:
    text = (ROOT / "docs" / "debugging.md").read_text().split("## Causes")[1].split("\n## ")[0]
    named = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    assert named == {cause.value for cause in Cause}
