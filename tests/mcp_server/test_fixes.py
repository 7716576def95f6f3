"""The log of a run says of a refused call what to correct, in the product page's words."""

from typing import Any

import pytest

from control.executions import logs
from control.identity.charter import ToolGrant
from control.identity.doorkeeper import Listener
from tests.mcp_server.plane import ACCOUNT, ERAS, PAYMENT, Era, Plane, text_of

PAY = ToolGrant(server="payments", tool="pay")


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(
    ("name", "arguments", "says", "fix"),
    [
        (
            "deploy_production",
            {},
            "Tool 'deploy_production' not found in allowed tools",
            'Fix: Edit flow → Tools → Check "deploy_production"',
        ),
        (
            "pay",
            {key: value for key, value in PAYMENT.items() if key != "amount"},
            "Tool 'pay' failed: required argument 'amount' missing",
            "Fix: Update prompt template to provide 'amount' argument",
        ),
    ],
)
async def test_a_refused_call_is_an_error_and_a_line_with_the_fix(
    house: Plane, era: Era, name: str, arguments: dict[str, Any], says: str, fix: str
) -> None:
    execution, _, token = await house.execution(PAY)
    async with house.client(token, era, Listener.CONTAINERS) as client:
        assert text_of(await client.call_tool(name, arguments)) == says
    lines = await logs.read(house.db, ACCOUNT, execution)
    assert [(line.level, line.source, line.text) for line in lines] == [
        ("error", "preloop", says),
        ("info", "preloop", fix),
    ]
