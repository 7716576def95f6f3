"""OpenAI's Codex CLI, without a login: its model is our gateway, its only MCP server is ours.

What the settings are for was measured with 0.169.0: `required` makes it wait for the MCP server and fail without it, a
slug it does not know keeps it on plain function tools, its own sandbox can't start inside a container that is one.
"""

import json

from runner.agents.script import CALL_LIMIT_S, RETRIES, AgentPlan, Brief

IMAGE = "preloop/codex"
_HOME = ".preloop/codex"
_CONTEXT_WINDOW = 200_000


def in_container(brief: Brief) -> AgentPlan:
    return AgentPlan(
        image=IMAGE,
        argv=("codex", "exec", "--json", "--skip-git-repo-check", "-o", ".preloop/last.txt", "-"),
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
base_url = {json.dumps(brief.gateway_url + "/openai/v1")}
env_key = "PRELOOP_API_TOKEN"
wire_api = "responses"
request_max_retries = {RETRIES}
stream_max_retries = {RETRIES}

[features]
plugins = false
apps = false

[analytics]
enabled = false

[feedback]
enabled = false

[shell_environment_policy]
inherit = "core"

[mcp_servers.preloop]
url = {json.dumps(brief.mcp_url)}
bearer_token_env_var = "PRELOOP_API_TOKEN"
required = true
startup_timeout_sec = 60
tool_timeout_sec = {CALL_LIMIT_S}
"""


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
