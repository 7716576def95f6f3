"""The scripted agent: our own small MCP client, for demos and tests. The program is `images/scripted/agent.py`."""

import sys
from pathlib import Path

from runner.agents.script import AgentPlan, Brief

IMAGE = "preloop/scripted"
_PROGRAM = Path(__file__).parents[2] / "images" / "scripted" / "agent.py"


def in_container(brief: Brief) -> AgentPlan:
    return AgentPlan(image=IMAGE, argv=("python3", "/opt/agent/agent.py"))


def on_host(brief: Brief) -> AgentPlan:
    """With the control plane's own interpreter, which has the libraries it needs."""
    return AgentPlan(image=IMAGE, argv=(sys.executable, str(_PROGRAM)))
