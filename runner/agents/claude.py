"""Anthropic's Claude Code. Measured with 2.1.330: it is told to wait for its MCP server, to show all tools at once, to
hold a call as long as it takes, and to speak the MCP revision on which it takes a broken stream up again.

Its own search runs at Anthropic, through a tool that the gateway refuses.
"""

import json
from collections.abc import Sequence

from runner.agents.events import Event, Said, blocks, compact, counted
from runner.agents.script import CALL_LIMIT_S, RETRIES, AgentPlan, Brief

IMAGE = "preloop/claude"
_SERVERS = ".preloop/mcp.json"
_WORDS = ("--output-format", "stream-json", "--verbose", "--strict-mcp-config", "--mcp-config", f"../{_SERVERS}")


def in_container(brief: Brief) -> AgentPlan:
    return AgentPlan(
        image=IMAGE,
        argv=("claude", "-p", *_WORDS, "--dangerously-skip-permissions", "--disallowed-tools", "WebSearch"),
        stdin=brief.prompt,
        files={_SERVERS: servers(brief)},
        env={
            "ANTHROPIC_MODEL": brief.slug,
            "ANTHROPIC_DEFAULT_HAIKU_MODEL": brief.slug,
            "ANTHROPIC_SMALL_FAST_MODEL": brief.slug,
            "CLAUDE_CODE_SUBAGENT_MODEL": brief.slug,
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "CLAUDE_CODE_DISABLE_EXPERIMENTAL_BETAS": "1",
            "CLAUDE_CODE_MAX_RETRIES": str(RETRIES),
            "CLAUDE_CODE_MCP_TOOL_IDLE_TIMEOUT": "0",
            "DISABLE_AUTOUPDATER": "1",
            "ENABLE_TOOL_SEARCH": "false",
            "IS_SANDBOX": "1",
            "MCP_CONNECTION_NONBLOCKING": "0",
            "MCP_PROTOCOL_NEGOTIATION": "legacy",
        },
    )


def servers(brief: Brief) -> str:
    server = {
        "type": "http",
        "url": brief.mcp_url,
        "headers": {"Authorization": "Bearer ${PRELOOP_API_TOKEN}"},
        "timeout": CALL_LIMIT_S * 1000,
    }
    return json.dumps({"mcpServers": {"preloop": server}}, indent=1)


def read(event: Event) -> Sequence[Said] | None:
    """`--output-format stream-json`. Its `result` says success also when `is_error` is true: that is what counts."""
    match event.get("type"):
        case "system" if event.get("subtype") == "api_retry":
            text = f"The model is asked again ({event.get('attempt')}): {event.get('error') or ''}".rstrip(": ")
            return (Said(kind="notice", text=text),)
        case "system":
            return ()
        case "assistant":
            return [said for block in _content(event) for said in _spoken(block)]
        case "user":
            return [_answered(block) for block in _content(event) if block.get("type") == "tool_result"]
        case "result":
            return _result(event)
    return None


def _content(event: Event) -> list[Event]:
    content = (event.get("message") or {}).get("content") or []
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []


def _spoken(block: Event) -> Sequence[Said]:
    match block.get("type"):
        case "text":
            return (Said(kind="text", text=block.get("text", "")),)
        case "thinking":
            return (Said(kind="reasoning", text=block.get("thinking", "")),)
        case "tool_use":
            text = compact(block.get("input", {}))
            name, call = str(block.get("name", "")), str(block.get("id", ""))
            return (Said(kind="tool_start", tool=name, call=call, text=text),)
    return ()


def _answered(block: Event) -> Said:
    call = str(block.get("tool_use_id", ""))
    return Said(kind="tool_end", call=call, ok=not block.get("is_error"), text=blocks(block.get("content", "")))


def _result(event: Event) -> Sequence[Said]:
    used = event.get("usage") or {}
    cached = used.get("cache_read_input_tokens") or 0
    told = counted((used.get("input_tokens") or 0) + cached, used.get("output_tokens"), cached)
    ok = event.get("is_error") is False
    text = event.get("result") or event.get("subtype", "")
    return (told, Said(kind="final", ok=ok, text="" if ok else compact(text)))
