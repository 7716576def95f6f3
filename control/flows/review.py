"""What is wrong with a flow that is to be saved, so that a typo isn't found in the middle of a run."""

from collections.abc import Callable, Sequence

from control.flows import template
from control.flows.source import Written
from kit.errors import Invalid


class Known:
    """What a flow may name and say, by the settings.

    `rule` refuses an expression that can't be read; rules live above flows, so it is handed in.
    """

    def __init__(
        self,
        *,
        models: Sequence[str],
        servers: Sequence[str],
        groups: Sequence[str],
        rule: Callable[[str], None] = lambda expression: None,
    ) -> None:
        self._named = {"model": set(models), "server": set(servers), "group": set(groups)}
        self._rule = rule

    def check(self, written: Written) -> None:
        """Invalid names the line and what there is."""
        flow = written.flow
        self._one(written, "model", flow.agent.model, "agent", "model")
        for number, tool in enumerate(flow.tools):
            at = ("tools", number)
            if "*" not in tool.server:
                self._one(written, "server", tool.server, *at, "server")
            if tool.approval:
                self._one(written, "group", tool.approval.group, *at, "approval", "group")
                if tool.approval.escalate:
                    self._one(written, "group", tool.approval.escalate, *at, "approval", "escalate")
            for expression in (tool.deny, tool.approval and tool.approval.when):
                if expression:
                    self._rule(expression)
        template.slots(flow.prompt)

    def _one(self, written: Written, kind: str, name: str, *at: str | int) -> None:
        if name not in self._named[kind]:
            known = ", ".join(sorted(self._named[kind])) or "none"
            where = written.where(*at)
            raise Invalid("flow_invalid", f"{where}: the {kind} {name!r} is not in preloop.toml.", f"Known: {known}.")
