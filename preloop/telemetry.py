"""Where this process's traces go: by `[telemetry]`, and by the OTEL_… variables where that is silent.

Off unless an endpoint is named. The exporter comes with the extra `otel` and is imported only where traces are on.
"""

import os
from collections.abc import Collection, Mapping

from kit.errors import Invalid, Unsuitable
from kit.observe import log
from preloop.roles import Role
from preloop.settings import Settings, otel_variables
from preloop.tracing import Sends

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
SCOPE = "preloop"


def open_exporter(settings: Settings, roles: Collection[Role], instance: str) -> Sends | None:
    """What sends this process's spans, or None where traces are off. Unsuitable when they are wanted and the extra is
    missing; where only a variable wants them, which may not be meant for us, that is a line in the log."""
    told, variables = settings.telemetry, otel_variables()
    if not _wanted(told.endpoint, variables):
        return None
    try:
        from kit.otlp import Exporter
    except ModuleNotFoundError as error:
        if not told.endpoint:
            log.warning("OTEL_… variables ask for traces, and the extra otel is not installed: there are none")
            return None
        raise Unsuitable(
            "otel_missing",
            "[telemetry] is set, and OpenTelemetry's exporter is not installed.",
            "Install the extras: `make extras`, or take [telemetry] out of preloop.toml.",
        ) from error
    own = next(iter(roles)) if len(roles) == 1 else None
    return Exporter(
        service=f"{SCOPE}-{own}" if own else SCOPE,
        scope=SCOPE,
        ratio=told.sample if told.sample is not None else _ratio(variables),
        about={
            "service.namespace": SCOPE,
            "service.instance.id": f"{instance}:{os.getpid()}",
            "preloop.roles": sorted(roles),
        },
        endpoint=f"{told.endpoint.rstrip('/')}/v1/traces" if told.endpoint else None,
        headers=settings.opened_telemetry_headers(),
    )


def _wanted(endpoint: str, variables: Mapping[str, str]) -> bool:
    if variables.get("OTEL_SDK_DISABLED", "").lower() == "true" or variables.get("OTEL_TRACES_EXPORTER") == "none":
        return False
    return bool(endpoint) or any(variables.get(name) for name in ENDPOINTS)


def _ratio(variables: Mapping[str, str]) -> float:
    """What of the traces that nobody else began is kept, by OTEL_TRACES_SAMPLER."""
    sampler = variables.get("OTEL_TRACES_SAMPLER", "").removeprefix("parentbased_")
    if sampler != "traceidratio":
        return 0.0 if sampler == "always_off" else 1.0
    said = variables.get("OTEL_TRACES_SAMPLER_ARG") or "1"
    try:
        ratio = float(said)
    except ValueError:
        ratio = -1.0
    if 0 <= ratio <= 1:
        return ratio
    raise Invalid("settings_invalid", f"OTEL_TRACES_SAMPLER_ARG is {said!r}.", "Set a ratio from 0 to 1.")
