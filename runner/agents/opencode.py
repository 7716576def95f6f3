"""OpenCode. Measured with 1.18.33: its prompt comes by standard input, as an argument it would be quoted to the model;
a title of ours spares the call in which it makes one up.
"""

import json
from collections.abc import Mapping, Sequence

from control.flows.direct import Wire
from runner.agents.events import Event, Said, compact, counted
from runner.agents.script import CALL_LIMIT_S, AgentPlan, Brief

IMAGE = "preloop/opencode"
_SETTINGS = ".preloop/opencode.json"
_OFF = ("AUTOUPDATE", "MODELS_FETCH", "LSP_DOWNLOAD", "DEFAULT_PLUGINS")
_PACKAGES: Mapping[Wire, tuple[str, str]] = {
    "openai": ("@ai-sdk/openai-compatible", ""),
    "anthropic": ("@ai-sdk/anthropic", "/v1"),
    "gemini": ("@ai-sdk/google", "/v1beta"),
}
"""What speaks a wire, all of them inside it, and what it wants behind the base URL that others take."""
_LIMIT = {"context": 200_000, "output": 8192}


def in_container(brief: Brief) -> AgentPlan:
    return AgentPlan(
        image=IMAGE,
        argv=("opencode", "run", "--format", "json", "--thinking", "--title", brief.execution_id),
        stdin=brief.prompt,
        files={_SETTINGS: settings(brief)},
        paths={"OPENCODE_CONFIG": _SETTINGS},
        env={f"OPENCODE_DISABLE_{name}": "1" for name in _OFF},
    )


def settings(brief: Brief) -> str:
    model = {"name": brief.slug, "tool_call": True, "reasoning": True, "limit": _LIMIT}
    server = {
        "type": "remote",
        "url": brief.mcp_url,
        "enabled": True,
        "oauth": False,
        "timeout": CALL_LIMIT_S * 1000,
        "headers": {"Authorization": "Bearer {env:PRELOOP_API_TOKEN}"},
    }
    wire = brief.direct.wire if brief.direct else "openai"
    package, version = _PACKAGES[wire]
    provider = {
        "npm": package,
        "name": "Preloop",
        "options": {"baseURL": brief.base(wire) + version, "apiKey": f"{{env:{brief.key_variable}}}"},
        "models": {brief.slug: model},
    }
    wanted = {
        "autoupdate": False,
        "share": "disabled",
        "permission": "allow",
        "enabled_providers": ["preloop"],
        "model": f"preloop/{brief.slug}",
        "small_model": f"preloop/{brief.slug}",
        "provider": {"preloop": provider},
        "mcp": {"preloop": server},
    }
    return json.dumps(wanted, indent=1)


def read(event: Event) -> Sequence[Said] | None:
    """`--format json`. A tool is told of when it ended; the end is the step whose reason is `stop`."""
    part = event.get("part") or {}
    match event.get("type"):
        case "step_start":
            return ()
        case "text" | "reasoning" as kind:
            return (Said(kind=kind, text=part.get("text", "")),)
        case "tool_use":
            return _tool(str(part.get("tool", "")), part.get("state") or {})
        case "step_finish":
            used = part.get("tokens") or {}
            cached = (used.get("cache") or {}).get("read", 0)
            told = counted(used.get("input", 0) + cached, used.get("output"), cached)
            return (told, Said(kind="final")) if part.get("reason") == "stop" else (told,)
        case "error":
            error = event.get("error") or {}
            text = compact((error.get("data") or {}).get("message") or error.get("name", ""))
            return (Said(kind="final", ok=False, text=text),)
    return None


def _tool(name: str, state: Event) -> Sequence[Said]:
    ok = state.get("status") == "completed"
    text = compact(state.get("output") if ok else state.get("error", ""))
    start = Said(kind="tool_start", tool=name, text=compact(state.get("input", {})))
    return (start, Said(kind="tool_end", tool=name, ok=ok, text=text))
