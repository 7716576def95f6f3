"""Google's Gemini CLI. Measured with 0.61.0: it waits for its MCP server, and needs a model named by `-m`, else it asks
a small one first which to take.

Its own search and fetch run at Google, through tools that the gateway refuses.
"""

import json
from collections.abc import Sequence

from runner.agents.events import Event, Said, compact, counted
from runner.agents.script import CALL_LIMIT_S, RETRIES, AgentPlan, Brief

IMAGE = "preloop/gemini"
_HOME = ".preloop/gemini"
_POLICY = """\
[[rule]]
toolName = ["google_web_search", "web_fetch"]
decision = "deny"
priority = 999
"""


def in_container(brief: Brief) -> AgentPlan:
    return AgentPlan(
        image=IMAGE,
        argv=("gemini", "--output-format", "stream-json", "--yolo", "--skip-trust", "-m", brief.slug),
        stdin=brief.prompt,
        files={f"{_HOME}/.gemini/settings.json": settings(brief), f"{_HOME}/.gemini/policies/preloop.toml": _POLICY},
        paths={"GEMINI_CLI_HOME": _HOME},
        env={
            "GEMINI_CLI_NO_RELAUNCH": "true",  # the process it would start anew is deaf to TERM
            "TERM": "xterm-256color",  # with less colour it complains
            "COLORTERM": "truecolor",
        },
    )


def settings(brief: Brief) -> str:
    server = {
        "httpUrl": brief.mcp_url,
        "headers": {"Authorization": "Bearer $PRELOOP_API_TOKEN"},
        "trust": True,
        "timeout": CALL_LIMIT_S * 1000,
    }
    wanted = {
        "security": {"auth": {"selectedType": "gemini-api-key"}, "folderTrust": {"enabled": False}},
        "general": {
            "enableAutoUpdate": False,
            "enableAutoUpdateNotification": False,
            "maxAttempts": RETRIES + 1,
        },
        "privacy": {"usageStatisticsEnabled": False},
        "telemetry": {"enabled": False},
        "tools": {"useRipgrep": False},
        "mcpServers": {"preloop": server},
    }
    return json.dumps(wanted, indent=1)


def read(event: Event) -> Sequence[Said] | None:
    """`--output-format stream-json`. Its words come in pieces; it tells no thoughts."""
    match event.get("type"):
        case "init":
            return ()
        case "message" if event.get("role") == "assistant":
            return (Said(kind="text", text=event.get("content", ""), more=bool(event.get("delta"))),)
        case "message":
            return ()  # the prompt
        case "tool_use":
            text = compact(event.get("parameters", {}))
            name, call = str(event.get("tool_name", "")), str(event.get("tool_id", ""))
            return (Said(kind="tool_start", tool=name, call=call, text=text),)
        case "tool_result":
            text = compact(event.get("output") or (event.get("error") or {}).get("message", ""))
            call = str(event.get("tool_id", ""))
            return (Said(kind="tool_end", call=call, ok=event.get("status") == "success", text=text),)
        case "error":
            return (Said(kind="notice", text=compact(event.get("message", ""))),)
        case "result":
            return _result(event)
    return None


def _result(event: Event) -> Sequence[Said]:
    used = event.get("stats") or {}
    told = counted(used.get("input_tokens"), used.get("output_tokens"), used.get("cached"))
    error = (event.get("error") or {}).get("message", "")
    return (told, Said(kind="final", ok=event.get("status") == "success", text=compact(error)))
