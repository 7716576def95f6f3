"""One Settings from flags, environment and `preloop.toml`, in that order; the only reader of the environment.

`PRELOOP_…` variables nest with `__`; a variable that ends in `_FILE` names a file that holds the value. The parts are
small models beside their doors.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from access.settings import EgressSettings, GitHost
from control.approvals import rules
from control.approvals.directory import Approver, Directory
from control.flows.direct import Direct
from control.flows.reach import HostName
from control.identity.caps import Share
from control.identity.plans import PRESETS, Plan
from gateway.settings import BudgetSettings, ModelAlias, different, limits
from kit.errors import Invalid
from mcp_server.settings import ServerName, UpstreamServer
from preloop import direct_keys
from preloop.notify_settings import CONSOLE, UNTOLD, NotifySettings
from preloop.sections import (
    ApproverSettings,
    GatewaySection,
    PlanSettings,
    RetentionSettings,
    StorageSettings,
    TelemetrySettings,
)
from preloop.settings_file import File
from runner.settings import RunnerSettings
from web.settings import WebSettings

if TYPE_CHECKING:
    from control.flows.review import Known

_VARIABLE = re.compile(r"\$\{(\w+)\}")


class ServerSettings(WebSettings):
    """`[server]`: where both listeners stand."""

    container_host: str = "127.0.0.1"
    """Where the containers' listener stands; what else it needs for agents on this machine it opens by itself. 0.0.0.0
    is for a pod, where a network policy says who comes in."""
    container_port: int = Field(default=8081, ge=0, le=65535)
    seal_key: SecretStr | None = None
    """What secrets of hooks are sealed with in the database: Fernet keys, the newest first. Without it keys/seal.key
    of the data folder; processes of role `web` with data folders of their own share one."""
    session_calls: int = Field(default=Share().calls, gt=0)
    """Calls that one session, an agent's, may have open in each process,"""
    session_streams: int = Field(default=Share().streams, gt=0)
    """streams that only listen,"""
    session_requests_per_second: int = Field(default=Share().per_second, gt=0)
    """and how often it may ask there."""

    def share(self) -> Share:
        return Share(
            calls=self.session_calls, streams=self.session_streams, per_second=self.session_requests_per_second
        )


class Settings(BaseSettings):
    """Everything an operator sets."""

    model_config = SettingsConfigDict(
        env_prefix="PRELOOP_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    data: Path = Path(".preloop")
    config: Path | None = None
    database: SecretStr | None = None
    """postgresql+asyncpg://…; without it SQLite in the data folder."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    server: ServerSettings = ServerSettings()
    gateway: GatewaySection = GatewaySection()
    models: dict[str, ModelAlias] = {}
    budgets: Annotated[tuple[BudgetSettings, ...], AfterValidator(different)] = ()
    servers: dict[ServerName, UpstreamServer] = {}
    approvers: dict[str, ApproverSettings] = {}
    groups: dict[str, tuple[str, ...]] = {}
    plans: dict[str, PlanSettings] = {}
    retention: RetentionSettings = RetentionSettings()
    notify: NotifySettings = NotifySettings()
    runner: RunnerSettings = RunnerSettings()
    egress: EgressSettings = EgressSettings()
    git: dict[HostName, GitHost] = {}
    telemetry: TelemetrySettings = TelemetrySettings()
    storage: StorageSettings = StorageSettings()

    @model_validator(mode="after")
    def _names_exist(self) -> "Settings":
        channels = self.notify.channels
        for name in self.notify.on_end:
            if name not in channels or channels[name].type != "webhook":
                raise ValueError(f"notify.on_end names {name}, which is no channel of type webhook")
        for group, members in self.groups.items():
            if unknown := set(members) - set(self.approvers):
                raise ValueError(f"groups.{group} names {', '.join(sorted(unknown))}, who is not under [approvers]")
        for name, approver in self.approvers.items():
            if unknown := set(approver.notify) - {CONSOLE} - set(channels):
                raise ValueError(f"approvers.{name}.notify names {', '.join(sorted(unknown))}, no such channel")
            mails = {n for n in approver.notify if n in channels and channels[n].type == "smtp"}
            if mails and not approver.email:
                raise ValueError(f"approvers.{name}.notify names {', '.join(sorted(mails))}, which needs an email")
        return self

    def untold(self) -> Iterator[str]:
        """Secrets that role `web` needs and was not told, by their keys."""
        if self.server.oidc and not self.server.oidc.client_secret.get_secret_value():
            yield "server.oidc.client_secret"
        for name, channel in self.notify.channels.items():
            for key, value in channel:
                if value == UNTOLD or value == (UNTOLD,):
                    yield f"notify.channels.{name}.{key}"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        environment = _Environment(settings_cls)
        return init_settings, environment, File(settings_cls, environment.env_vars.get("preloop_config"))

    def directory(self) -> Directory:
        """Who can be asked."""
        people = {
            id_: Approver(id=id_, name=found.name, email=found.email, notify=found.notify)
            for id_, found in self.approvers.items()
        }
        return Directory(approvers=people, groups=self.groups)

    def opened_servers(self) -> dict[ServerName, UpstreamServer]:
        """The tool servers as they are dialled: `${NAME}` in their headers and env is a variable of ours, so that no
        credential is in the file. Invalid where one is not set; nobody but who dials needs them."""
        return {
            name: server.model_copy(
                update={part: _filled(f"servers.{name}.{part}", getattr(server, part)) for part in ("headers", "env")}
            )
            for name, server in self.servers.items()
        }

    def opened_git(self) -> dict[HostName, GitHost]:
        """The git hosts with the tokens of their variables. Invalid where one is not set."""
        return {
            name: host.model_copy(update={"token": SecretStr(_set(f"git.{name}.token_env", host.token_env))})
            if host.token_env
            else host
            for name, host in self.git.items()
        }

    def opened_telemetry_headers(self) -> dict[str, str]:
        """What the collector of traces is sent, with the values of its variables. Invalid where one is not set."""
        filled = _filled("telemetry.headers", self.telemetry.headers)
        return {name: value.get_secret_value() for name, value in filled.items()}

    def opened_direct(self) -> dict[str, Direct]:
        """By alias the keys that agents get, read. Invalid where one is not there, or is the gateway's."""
        return direct_keys.opened(self.models, _set)

    def plan_list(self) -> dict[str, Plan]:
        """Every plan by its name: the presets as the file changes them, and the file's own."""
        found = dict(PRESETS)
        for name, given in self.plans.items():
            own = {"slots": given.slots, "storage_bytes": given.storage, "timeout_s": given.timeout}
            said = {key: value or None for key, value in own.items() if value is not None}
            found[name] = replace(found.get(name, Plan()), **said)
        return found

    def known(self) -> "Known":
        """What a flow may name."""
        from control.flows.review import Known  # brings SQLAlchemy: a third of what a command over REST takes to start

        names = {"models": list(self.models), "servers": list(self.servers)}
        groups = {name: len(set(its)) for name, its in self.groups.items()}
        nameless = {group: [id_ for id_ in its if not self.approvers[id_].email] for group, its in self.groups.items()}
        reach = {"git": list(self.git), "wildcards": self.egress.wildcards}
        direct = {alias: model.direct for alias, model in self.models.items() if model.direct}
        return Known(
            **names, **reach, groups=groups, nameless=nameless, rule=rules.check, direct=direct, covered=self.covered
        )

    def covered(self, flow: str, alias: str) -> bool:
        """Does a hard budget count what a flow's executions cost on a model?"""
        return limits(self.budgets).binds(flow, alias)


class _Environment(EnvSettingsSource):
    """The environment, with the content of every `PRELOOP_…_FILE` in the place of its variable."""

    def _load_env_vars(self) -> Mapping[str, str | None]:
        found = {key.lower(): value for key, value in os.environ.items() if key.startswith("PRELOOP_")}
        for key in [key for key in found if key.endswith("_file")]:
            path = Path(found.pop(key))
            try:
                found[key.removesuffix("_file")] = path.read_text().strip()
            except OSError as error:
                raise Invalid(
                    "settings_invalid", f"{key.upper()} names {path}, which can't be read: {error}."
                ) from error
        if "preloop_public_url" in found:
            found["preloop_server__public_url"] = found.pop("preloop_public_url")
        return found


def _filled(where: str, values: Mapping[str, SecretStr]) -> dict[str, SecretStr]:
    return {
        key: SecretStr(_VARIABLE.sub(partial(_variable, f"{where}.{key}"), value.get_secret_value()))
        for key, value in values.items()
    }


def _variable(where: str, named: "re.Match[str]") -> str:
    return _set(where, named[1])


def _set(where: str, name: str) -> str:
    if name not in os.environ:
        text = f"{where} names the variable {name}, which is not set."
        raise Invalid("settings_invalid", text, "Set it where Preloop starts.")
    return os.environ[name]


def load(**flags: Any) -> Settings:  # noqa: ANN401 - whatever the command line was given
    """The settings, or Invalid that names the key. Flags that are None were not given."""
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"]).replace(".upstreams.0.", ".")  # as the short form has it
        raise Invalid(
            "settings_invalid",
            f"{key or 'settings'}: {first['msg'].removeprefix('Value error, ')}.",
            "Look at preloop.toml and the PRELOOP_… variables; `preloop settings` shows what is in force.",
        ) from error


def stated(settings: Settings) -> dict[Literal["flag", "environment", "file", "default"], dict[str, Any]]:
    """What environment and file say, as they say it, the stronger first."""
    file = str(settings.config) if settings.config else None
    return {"environment": _Environment(Settings)(), "file": File(Settings, file)()}


def otel_variables() -> dict[str, str]:
    """OpenTelemetry's own variables (opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables)."""
    return {name: value for name, value in os.environ.items() if name.startswith("OTEL_")}


def take_listen_variables() -> dict[str, str]:
    """What sd_listen_fds(3) is told of sockets handed over; gone afterwards, so that no child takes it for its own."""
    names = ("LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES")
    return {name: os.environ.pop(name) for name in names if name in os.environ}
