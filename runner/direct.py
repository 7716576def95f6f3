"""Which agents get a provider's key in the place of the gateway, decided once: when an agent is first started."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from control.flows import direct
from control.flows.direct import Direct
from control.flows.flow import Flow
from kit.errors import Invalid


async def _always(alias: str) -> bool:
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Directs:
    """The keys that there are by alias, and what is asked before one is handed out."""

    keys: Mapping[str, Direct] = field(default_factory=dict)
    covered: Callable[[str, str], bool] = lambda flow, alias: False
    """Does a hard budget count what a flow's executions cost on an alias?"""
    serves: Callable[[str], Awaitable[bool]] = _always
    """Can the gateway serve an alias now? Where none is in this process nobody knows better."""

    async def chosen(self, flow: Flow) -> Direct | None:
        """None is the gateway. Settings may have changed since the flow was saved: Invalid where they do not allow
        what it says."""
        if flow.agent.gateway is True:
            return None
        alias = flow.agent.model
        given, refused = self.keys.get(alias), direct.refusal(flow, self.keys.get(alias))
        limit = direct.bounded(flow, self.covered(flow.name, alias))
        if flow.agent.gateway == "prefer":
            return None if refused or limit or await self.serves(alias) else given
        if limit:
            raise Invalid("direct_refused", f"Past the gateway nobody keeps {limit}.", direct.INSTEAD)
        return self.kept(flow)

    def kept(self, flow: Flow) -> Direct:
        """Of a flow whose agent goes past the gateway, or was to when it was first started."""
        given = self.keys.get(flow.agent.model)
        if refused := direct.refusal(flow, given):
            raise Invalid("direct_refused", f"The agent goes past the gateway, and {refused[0]}.", refused[1])
        assert given
        return given
