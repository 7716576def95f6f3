"""How a flow file says that a press is not enough, and what several entries for one call come to."""

from typing import Any

import pytest

from control.approvals import confirming, policy
from control.flows import source as flows
from control.identity.charter import Gate, ToolGrant
from kit.errors import Invalid

FILE = """
version: 1
name: x
agent: {{runtime: scripted}}
prompt: x
tools: [{{server: payments, tool: pay, approval: {{group: finance, {more}}}}}]
"""


def test_a_flow_file_says_how_a_decision_is_confirmed() -> None:
    read = flows.parse(FILE.format(more='confirm: typed, sign_in: true, summary: "Pay {{args.amount}} USD"'))
    gate = read.charter().tools[0].approval
    assert gate
    assert (gate.confirm, gate.sign_in, gate.summary) == ("typed", True, "Pay {{args.amount}} USD")


@pytest.mark.parametrize("more", ["confirm: aloud", "sign_in: often", 'summary: "{{amount}}"', 'summary: "{{args.a"'])
def test_other_words_for_it_are_errors(more: str) -> None:
    with pytest.raises(Invalid, match="approval"):
        flows.parse(FILE.format(more=more))


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({"amount": 1500}, ("amount", "1500")),
        ({"amount": 12.5}, ("amount", "12.5")),
        ({"amount": "1500"}, ("tool", "pay")),
        ({"amount": True}, ("tool", "pay")),
        ({}, ("tool", "pay")),
    ],
)
def test_what_is_to_be_typed(args: dict[str, Any], said: tuple[str, str]) -> None:
    assert confirming.phrase("pay", args) == said


def test_of_several_gates_the_strictest_wishes_hold() -> None:
    gates = (Gate(group="a", quorum=2), Gate(group="b", confirm="typed"), Gate(group="c", sign_in=True, summary="Pay"))
    tools = [ToolGrant(server="*", tool="*", approval=gate) for gate in gates]
    verdict = policy.decide(tools, {}, lambda expression, facts: True)
    assert isinstance(verdict, policy.Ask)
    assert verdict.gate == Gate(group="a", quorum=2, confirm="typed", sign_in=True, summary="Pay")
