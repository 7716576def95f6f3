"""Any command in any image: aider, somebody's own agent. The wires' usual variables lead it to the gateway."""

from runner.agents.script import AgentPlan, Brief


def anywhere(brief: Brief) -> AgentPlan:
    return AgentPlan(image=brief.image, argv=brief.command, stdin=brief.prompt)
