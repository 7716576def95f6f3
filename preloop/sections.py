"""The small sections of preloop.toml that have no door of their own: `[gateway]`, who approves, plans, retention,
telemetry, object storage."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

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


class TelemetrySettings(Strict):
    """`[telemetry]`: traces by OTLP/HTTP, with the extra `otel`. Off without an endpoint."""

    endpoint: Annotated[str, Field(pattern=r"^(https?://[^/\s]+.*)?$")] = ""
    """The collector's base address, like http://collector:4318; /v1/traces is put behind it."""
    headers: dict[str, SecretStr] = {}
    """Sent with every request; `${NAME}` is a variable."""
    sample: float | None = Field(default=None, ge=0, le=1)
    """Which part of the traces is kept, where a caller's own trace doesn't say; all, without it."""


def _bytes(given: str | int) -> int:
    """'2g' → bytes, which a bare number is."""
    return given if isinstance(given, int) and not isinstance(given, bool) else mebibytes(given)


class StorageSettings(Strict):
    """`[storage]`: an object store for what is large, with the extra `s3`. Without a url all of it stays in the data
    folder and the database."""

    url: Annotated[str, Field(pattern=r"^(s3://[a-z0-9][a-z0-9.-]{1,62}(/[\w!*'()-][\w!.*'()-]*)*/?)?$")] = ""
    """s3://bucket, or s3://bucket/prefix."""
    endpoint: Annotated[str, Field(pattern=r"^(https?://[^/\s]+/?)?$")] = ""
    """Whose store it is; AWS without it."""
    region: str = ""
    access_key_id: str = ""
    """Without a key the AWS_… variables and the machine's own role are asked."""
    secret_access_key: SecretStr = SecretStr("")
    files_from: Annotated[int, BeforeValidator(_bytes), Field(ge=0)] = 0
    """Files of so many bytes go there: what agents leave, and the whole output."""
    logs_from: Annotated[int, BeforeValidator(_bytes), Field(ge=1 << 20)] = 1 << 20
    """Lines of logs of so many bytes go there when the execution is over."""
