"""The small sections of preloop.toml that have no door of their own: `[gateway]`, who approves, plans, retention."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from control.flows.quantities import mebibytes, seconds
from control.retention.rules import LONGEST, Rules
from preloop.notify_settings import CONSOLE


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GatewaySection(Strict):
    """`[gateway]`"""

    strict: bool = False
    """Each model call is in the database before it is made, not only in its journal: survives a power cut."""


class ApproverSettings(Strict):
    """`[approvers.<id>]`"""

    name: str
    email: str = ""
    notify: tuple[str, ...] = (CONSOLE,)


class PlanSettings(Strict):
    """`[plans.<id>]`: what is set here replaces that part of a preset; a plan of another name has no limits but these.
    0 is no limit."""

    slots: int | None = Field(default=None, ge=0, le=100_000)
    storage: Annotated[int, BeforeValidator(mebibytes), Field(ge=0)] | None = None
    timeout: Annotated[int, BeforeValidator(seconds), Field(ge=0)] | None = None


Days = Annotated[int, Field(ge=1, le=LONGEST)]


class RetentionSettings(Strict):
    """`[retention]`: how many days each kind of content is kept after its execution's end, and how much of it there may
    be at most, the oldest going first. Without a number it stays for ever."""

    logs_days: Days | None = None
    payloads_days: Days | None = None
    results_days: Days | None = None
    bodies_days: Days | None = None
    keep: Annotated[int, BeforeValidator(mebibytes), Field(gt=0)] | None = None

    def rules(self) -> Rules:
        return Rules(**self.model_dump())
