"""The example's rule is the one a reader copies: it must mean what it seems to."""

from typing import Any

import pytest

from control.approvals import policy, rules
from control.flows import source
from tests.house.plan import ROOT

SOURCE = (ROOT / "examples" / "flows" / "process-payment.yaml").read_text()


@pytest.mark.parametrize(
    ("args", "verdict"),
    [
        ({"amount": 1500, "currency": "USD"}, policy.Ask),
        ({"amount": 1500}, policy.Ask),
        ({"amount": 50}, policy.Allow),
        ({"amount": 50, "currency": "EUR"}, policy.Deny),
        ({"amount": 50, "currency": None}, policy.Deny),
    ],
)
def test_a_payment_without_a_currency_is_in_the_tool_s_own_and_others_are_refused(
    args: dict[str, Any], verdict: type
) -> None:
    grants = policy.matching(source.parse(SOURCE).charter().tools, "payments", "pay")
    assert isinstance(policy.decide(grants, {"args": args}, rules.evaluate), verdict)
