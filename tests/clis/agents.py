"""How each CLI is started as somebody's own agent: its files, its words, and how one sees that it ended well.

Found by running them; `runner/agents` writes the same into containers. Limits on a tool call are raised everywhere: a
person may take longer than any client's patience.
"""

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

from runner.agents import codex
from runner.agents.script import Brief
from tests.clis.install import binary

PATIENCE_MS = 86_400_000


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where an agent finds us, and what it may show."""

    home: Path
    origin: str
    token: str
    prompt: str
    gemini: str = ""
    """Origin of a model server that speaks Gemini's wire."""
    anthropic: str = ""
    """Origin of one that speaks Anthropic's."""

    @property
    def mcp(self) -> str:
        return f"{self.origin}/mcp/v1"

    @property
    def header(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


@dataclass(frozen=True, kw_only=True)
class Start:
    """A command, what is written before it starts, and what it ended well means."""

    argv: list[str]
    well: Callable[[list[dict[str, Any]]], bool]
    files: Mapping[str, str]
    env: Mapping[str, str] = field(default_factory=dict)
    stdin: str = ""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """What became of a CLI."""

    code: int
    well: bool
    said: str

    def __bool__(self) -> bool:
        return self.code == 0 and self.well


def codex_cli(at: Place) -> Start:
    brief = Brief(
        execution_id="",
        model="default",
        prompt="",
        payload_json="",
        control_url="",
        mcp_url=at.mcp,
        gateway_url=at.origin,
    )
    return Start(
        argv=["node", str(binary("codex")), "exec", "--json", "--skip-git-repo-check", "-"],
        stdin=at.prompt,
        files={"config.toml": codex.config(brief), "catalog.json": codex.catalog(brief.slug)},
        env={"CODEX_HOME": str(at.home), "PRELOOP_API_TOKEN": at.token},
        well=lambda events: any(event.get("type") == "turn.completed" for event in events),
    )


def opencode_cli(at: Place) -> Start:
    options = {"baseURL": f"{at.origin}/openai/v1", "apiKey": at.token}
    model = {"name": "x", "tool_call": True, "limit": {"context": 200_000, "output": 8192}}
    server = {"type": "remote", "url": at.mcp, "enabled": True, "oauth": False, "timeout": PATIENCE_MS}
    settings = {
        "autoupdate": False,
        "share": "disabled",
        "permission": "allow",
        "enabled_providers": ["preloop"],
        "model": "preloop/default",
        "small_model": "preloop/default",
        "provider": {
            "preloop": {"npm": "@ai-sdk/openai-compatible", "options": options, "models": {"default": model}},
        },
        "mcp": {"preloop": server | {"headers": at.header}},
    }
    off = ("AUTOUPDATE", "MODELS_FETCH", "LSP_DOWNLOAD", "DEFAULT_PLUGINS")
    return Start(
        argv=[str(binary("opencode")), "run", "--format", "json", "--title", "journey"],
        stdin=at.prompt,
        files={".config/opencode/opencode.json": json.dumps(settings)},
        env={f"OPENCODE_DISABLE_{name}": "1" for name in off},
        well=lambda events: _last(events, "step_finish").get("part", {}).get("reason") == "stop",
    )


def gemini_cli(at: Place) -> Start:
    server = {"httpUrl": at.mcp, "headers": at.header, "trust": True, "timeout": PATIENCE_MS}
    settings = {
        "security": {"auth": {"selectedType": "gemini-api-key"}, "folderTrust": {"enabled": False}},
        "general": {"enableAutoUpdate": False, "enableAutoUpdateNotification": False},
        "privacy": {"usageStatisticsEnabled": False},
        "telemetry": {"enabled": False},
        "mcpServers": {"preloop": server},
    }
    words = ["--output-format", "stream-json", "--yolo", "--skip-trust", "-m", "default", "-p", at.prompt]
    env = {"GEMINI_API_KEY": "none", "GOOGLE_GEMINI_BASE_URL": at.gemini, "GEMINI_CLI_NO_RELAUNCH": "true"}
    return Start(
        argv=["node", str(binary("gemini")), *words],
        files={".gemini/settings.json": json.dumps(settings)},
        env=env,
        well=lambda events: _last(events, "result").get("status") == "success",
    )


def claude_cli(at: Place) -> Start:
    server = {"type": "http", "url": at.mcp, "headers": at.header, "timeout": PATIENCE_MS}
    words = ["--output-format", "stream-json", "--verbose", "--strict-mcp-config", "--mcp-config", "mcp.json"]
    env = {
        "ANTHROPIC_BASE_URL": at.anthropic,
        "ANTHROPIC_AUTH_TOKEN": "none",
        "ANTHROPIC_MODEL": "default",
        "ANTHROPIC_DEFAULT_HAIKU_MODEL": "default",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
        "MCP_CONNECTION_NONBLOCKING": "0",
        "CLAUDE_CODE_MCP_TOOL_IDLE_TIMEOUT": "0",
        "ENABLE_TOOL_SEARCH": "false",
        "CLAUDE_CODE_MAX_RETRIES": "2",
        "IS_SANDBOX": "1",
        "MCP_PROTOCOL_NEGOTIATION": "legacy",  # on 2026-07-28 it gives a call up when its stream breaks
    }
    return Start(
        argv=[str(binary("claude")), "-p", *words, "--dangerously-skip-permissions", at.prompt],
        files={"mcp.json": json.dumps({"mcpServers": {"preloop": server}})},
        env=env | {"CLAUDE_CONFIG_DIR": str(at.home / ".claude")},
        well=lambda events: _last(events, "result").get("is_error") is False,
    )


STARTS: Mapping[str, Callable[[Place], Start]] = {
    "codex": codex_cli,
    "opencode": opencode_cli,
    "gemini": gemini_cli,
    "claude": claude_cli,
}


async def run(name: str, at: Place) -> Ended:
    """Start a CLI in a home of its own and wait until it ended; cancelled, it is killed."""
    start = STARTS[name](at)
    for path, text in start.files.items():
        (at.home / path).parent.mkdir(parents=True, exist_ok=True)
        (at.home / path).write_text(text)
    env = {"PATH": os.environ["PATH"], "HOME": str(at.home), "TERM": "dumb", **start.env}
    process = await anyio.run_process(
        start.argv, input=start.stdin.encode(), check=False, stderr=subprocess.STDOUT, cwd=at.home, env=env
    )
    said = process.stdout.decode(errors="replace")
    return Ended(code=process.returncode, well=start.well(_events(said)), said=said)


def _events(said: str) -> list[dict[str, Any]]:
    found = []
    for line in said.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            found.append(event)
    return found


def _last(events: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    return next((event for event in reversed(events) if event.get("type") == kind), {})
