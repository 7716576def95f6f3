"""Anthropic's Claude Code. Measured with 2.1.330: it is told to wait for its MCP server, to show all tools at once, to
hold a call as long as it takes, and to speak the MCP revision on which it takes a broken stream up again.

Its own search runs at Anthropic, through a tool that the gateway refuses.
"""

import json

from runner.agents.script import CALL_LIMIT_S, RETRIES, AgentPlan, Brief

IMAGE = "preloop/claude"
_SERVERS = ".preloop/mcp.json"
_WORDS = ("--output-format", "stream-json", "--verbose", "--strict-mcp-config", "--mcp-config", _SERVERS)


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
