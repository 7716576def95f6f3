"""Who may call a model, and how often: token, alias, pace, tools that run at the provider, then money and the journal.

Everything that can say no does so here, before the provider hears of the request and before a byte is answered.
"""

import math
from typing import Any, NoReturn

from control.paces import Rate, Rates
from gateway import figures
from gateway.attempt import Attempt, requested
from gateway.call import Call
from gateway.dialects import hosted
from gateway.flush import Flush, Happened
from gateway.holds import Holds
from gateway.intent import intent_of
from gateway.models import Models
from gateway.refusals import Limited
from gateway.settings import belongs
from gateway.upstream import Route, Target
from gateway.wires.fields import unsupported
from kit.clock import Clock
from kit.errors import Fault, Missing, Refused

PREFIX = "preloop-"
"""Agents may write an alias with this before it: some CLIs change their tool protocol for names they know."""
PROVIDER = "provider"
"""The server under which a flow lists tools that run at the provider."""


class Admission:
    """The gate of one process."""

    def __init__(self, *, models: Models, holds: Holds, flush: Flush, rates: Rates, clock: Clock) -> None:
        self._models = models
        self._holds = holds
        self._flush = flush
        self._clock = clock
        self._rates = rates
        self._paces: dict[str, Rate] = {}
        self._running: dict[tuple[str, str], int] = {}

    def route(self, call: Call) -> Route:
        """Where the alias leads; one that the charter does not name might as well not exist."""
        mine, alias = call.principal.charter.models, call.request.alias
        named = alias if alias in mine else alias.removeprefix(PREFIX)
        route = self._models.route(named) if named in mine else None
        if route is None:
            known = ", ".join(mine) or "none"
            self._refuse(
                call,
                Missing("model_not_found", f"There is no model {alias!r} for this agent.", f"It may use: {known}."),
            )
        if call.request.hosted:
            self._check_hosted(call, route)
        return route

    async def enter(self, call: Call, route: Route) -> tuple[str, str]:
        """Take a place for one more call of this session to this alias, to be given back by `leave`; or Limited."""
        place = (call.principal.session_id, route.alias)
        most = route.settings.concurrency
        running = self._running.get(place, 0)
        if most is not None and running >= most:
            self._refuse(
                call, Limited(f"This agent has {running} calls to {route.alias!r} under way, and may have {most}.", 1)
            )
        self._running[place] = running + 1
        try:
            await self._check_pace(call, route)
        except BaseException:
            self.leave(place)
            raise
        return place

    def leave(self, place: tuple[str, str]) -> None:
        if self._running[place] == 1:
            del self._running[place]
        else:
            self._running[place] -= 1

    async def admit(
        self, call: Call, target: Target, id_: str, number: int, dropped: tuple[str, ...], size: int
    ) -> Attempt:
        """An attempt, held for at its worst price and in the journal; or a Fault. `number` counts up from 0, `size` is
        in bytes what the provider is told: a translation may say more than the client."""
        try:
            intent = intent_of(
                id_,
                call.principal,
                target,
                call.wire.name,
                at=self._clock.now(),
                attempt=number,
                request=call.request,
                size=max(call.size, size),
            )
            held = await self._holds.reserve(call.principal, intent)
        except Refused as fault:
            self._note(call, fault, "budget")
            raise
        self._flush.put(requested(intent, held, dropped))
        return Attempt(intent, self._clock)

    def refused(self, call: Call, fault: Fault) -> None:
        """A call that found no upstream leaves its event."""
        self._note(call, fault, "routing")

    def skipped(self, call: Call, target: Target, fault: Fault) -> None:
        """An upstream that can't be asked this leaves its event; others may be asked."""
        data = {"alias": target.alias, "provider": target.provider, "model": target.model, "wire": call.wire.name}
        self._put(call, "model.skipped", data | {"error": fault.code, "message": fault.message})

    async def _check_pace(self, call: Call, route: Route) -> None:
        most = route.settings.requests_per_minute
        if most is None:
            return
        pace = self._paces.get(route.alias)
        if pace is None:
            pace = self._paces[route.alias] = self._rates(f"model {route.alias}", most)
        wait_s = await pace.take(call.principal.account_id, call.principal.session_id)
        if wait_s:
            said = f"This agent may ask {route.alias!r} {most} times a minute."
            self._refuse(call, Limited(said, max(1, math.ceil(wait_s))))

    def _check_hosted(self, call: Call, route: Route) -> None:
        """Tools that run at the provider: each listed by the flow without a condition, counted by the wire's provider,
        and priced at every upstream. What can't be billed does not run."""
        listed = {
            grant.tool
            for grant in call.principal.charter.tools
            if grant.server == PROVIDER and grant.approval is None and grant.deny is None
        }
        for name in call.request.hosted:
            if name not in listed:
                self._refuse(
                    call,
                    Refused(
                        "hosted_tool_not_allowed",
                        f"The tool {name!r} runs at the provider, out of our sight; this agent may not use it.",
                        f"List it in the flow: {{server: {PROVIDER}, tool: {name}}}.",
                    ),
                )
            if not hosted.counted(call.wire.name, name):
                self._refuse(call, unsupported(f"Counting the uses of {name!r}, which runs at the provider,"))
            if any(target.hosted_nano(name) is None for target in route.targets):
                self._refuse(
                    call,
                    Refused(
                        "hosted_tool_unpriced",
                        f"The tool {name!r} has no price at the model {route.alias!r}.",
                        f'Set hosted_usd = {{"{name}" = "0.01"}}, dollars for one use, {belongs(route.alias)}.',
                    ),
                )

    def _refuse(self, call: Call, fault: Fault) -> NoReturn:
        self._note(call, fault, "routing")
        raise fault

    def _note(self, call: Call, fault: Fault, stage: str) -> None:
        figures.REFUSED.add(call.wire.name, stage, fault.code)
        data = {"alias": call.request.alias, "wire": call.wire.name, "stage": stage}
        self._put(call, "model.refused", data | {"error": fault.code, "message": fault.message})

    def _put(self, call: Call, type_: str, data: dict[str, Any]) -> None:
        principal = call.principal
        self._flush.put(
            Happened(
                account_id=principal.account_id,
                session_id=principal.session_id,
                stream=principal.stream,
                type=type_,
                data=data,
            )
        )
