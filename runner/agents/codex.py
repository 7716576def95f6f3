"""OpenAI's Codex CLI, without a login: its model is our gateway, its only MCP server is ours.

What the settings are for was measured with 0.169.0: `required` makes it wait for the MCP server and fail without it, a
slug it does not know keeps it on plain function tools, its own sandbox can't start inside a container that is one.
"""

import json
from collections.abc import Sequence

from runner.agents.events import Event, Said, blocks, compact, counted
from runner.agents.script import CALL_LIMIT_S, RETRIES, AgentPlan, Brief

IMAGE = "preloop/codex"
_HOME = ".preloop/codex"
_CONTEXT_WINDOW = 200_000


def in_container(brief: Brief) -> AgentPlan:
    return AgentPlan(
        image=IMAGE,
        argv=("codex", "exec", "--json", "--skip-git-repo-check", "-"),
        stdin=brief.prompt,
        files={f"{_HOME}/config.toml": config(brief), f"{_HOME}/catalog.json": catalog(brief.slug)},
        paths={"CODEX_HOME": _HOME},
    )


def config(brief: Brief) -> str:
    """config.toml; JSON strings are TOML strings. The catalog's path is relative to this file's folder."""
    return f"""\
model = {json.dumps(brief.slug)}
model_provider = "preloop"
model_catalog_json = "catalog.json"
approval_policy = "never"
sandbox_mode = "danger-full-access"
check_for_update_on_startup = false
web_search = "disabled"

[model_providers.preloop]
name = "Preloop"
base_url = {json.dumps(brief.base("openai"))}
env_key = {json.dumps(brief.key_variable)}
wire_api = "responses"
request_max_retries = 0
stream_max_retries = {RETRIES}

[features]
plugins = false
apps = false

[analytics]
enabled = false

[feedback]
enabled = false

[shell_environment_policy]
{_shell(brief)}

[mcp_servers.preloop]
url = {json.dumps(brief.mcp_url)}
bearer_token_env_var = "PRELOOP_API_TOKEN"
required = true
startup_timeout_sec = 60
tool_timeout_sec = {CALL_LIMIT_S}
"""


def _shell(brief: Brief) -> str:
    """What the agent's own commands inherit: no key, unless they are to find the doors that lead out."""
    if not brief.egress and not brief.git_hosts:
        return 'inherit = "core"'
    names = ["HOME", "LANG", "LOGNAME", "PATH", "SHELL", "TMPDIR", "USER", "*_PROXY", "GIT_*"]
    return f'inherit = "all"\nignore_default_excludes = true\ninclude_only = {json.dumps(names)}'


def catalog(model: str) -> str:
    """The least that Codex accepts as a description of a model."""
    entry = {
        "slug": model,
        "display_name": model,
        "supported_reasoning_levels": [],
        "shell_type": "unified_exec",
        "visibility": "list",
        "supported_in_api": True,
        "priority": 1,
        "base_instructions": "You are an agent that does one task in the current folder, then stops.",
        "supports_reasoning_summaries": False,
        "support_verbosity": False,
        "truncation_policy": {"mode": "tokens", "limit": 10_000},
        "supports_parallel_tool_calls": True,
        "context_window": _CONTEXT_WINDOW,
        "experimental_supported_tools": [],
    }
    return json.dumps({"models": [entry]}, indent=1)


def read(event: Event) -> Sequence[Said] | None:
    """`codex exec --json`. An `error` may be a retry; what ends it badly is `turn.failed`."""
    match event.get("type"):
        case "thread.started" | "turn.started":
            return ()
        case "item.started" | "item.completed" | "item.updated":
            return _item(event.get("item", {}), over=event["type"] == "item.completed")
        case "turn.completed":
            used = event.get("usage", {})
            told = counted(used.get("input_tokens"), used.get("output_tokens"), used.get("cached_input_tokens"))
            return (told, Said(kind="final"))
        case "turn.failed":
            return (Said(kind="final", ok=False, text=blocks(event.get("error", {}).get("message", ""))),)
        case "error":
            return (Said(kind="notice", text=compact(event.get("message", ""))),)
    return None


def _item(item: Event, *, over: bool) -> Sequence[Said] | None:
    match item.get("type"):
        case "agent_message" | "reasoning" as kind if over:
            return (Said(kind="text" if kind == "agent_message" else "reasoning", text=item.get("text", "")),)
        case "mcp_tool_call":
            return (_call(item, over=over),)
        case "command_execution" if over:
            ok = item.get("exit_code") == 0
            return (Said(kind="tool_end", tool="shell", ok=ok, text=item.get("aggregated_output", "")),)
        case "command_execution":
            return (Said(kind="tool_start", tool="shell", text=item.get("command", "")),)
        case "error":
            return (Said(kind="notice", text=item.get("message", "")),)
        case "file_change" if over:
            changed = ", ".join(f"{one.get('kind')} {one.get('path')}" for one in item.get("changes", ()))
            return (Said(kind="tool_end", tool="edit", ok=item.get("status") == "completed", text=changed),)
        case "agent_message" | "reasoning" | "file_change" | "todo_list":
            return ()
    return None


def _call(item: Event, *, over: bool) -> Said:
    tool = str(item.get("tool", ""))
    if not over:
        return Said(kind="tool_start", tool=tool, text=compact(item.get("arguments", {})))
    if error := item.get("error"):
        return Said(kind="tool_end", tool=tool, ok=False, text=compact(error.get("message", "")))
    ok = item.get("status") == "completed"
    return Said(kind="tool_end", tool=tool, ok=ok, text=blocks((item.get("result") or {}).get("content", "")))
