"""Which adapter speaks for which runtime. An adapter is a function from a brief to a plan, in a file of its own."""

from collections.abc import Callable

from kit.errors import Invalid
from runner.agents import claude, codex, command, gemini, opencode, scripted
from runner.agents.events import Read
from runner.agents.script import AgentPlan, Brief

Adapter = Callable[[Brief], AgentPlan]

_IN_CONTAINER: dict[str, Adapter] = {
    "scripted": scripted.in_container,
    "codex": codex.in_container,
    "gemini": gemini.in_container,
    "opencode": opencode.in_container,
    "claude": claude.in_container,
    "command": command.anywhere,
}
_ADAPTERS: dict[tuple[str, str], Adapter] = {
    **{(name, "docker"): adapter for name, adapter in _IN_CONTAINER.items()},
    **{(name, "kubernetes"): adapter for name, adapter in _IN_CONTAINER.items()},
    **{(name, "swarm"): adapter for name, adapter in _IN_CONTAINER.items()},
    ("scripted", "process"): scripted.on_host,
    ("command", "process"): command.anywhere,
    # without images: what this machine has under /usr
    ("scripted", "bwrap"): scripted.on_host,
    ("codex", "bwrap"): codex.in_container,
    ("gemini", "bwrap"): gemini.in_container,
    ("opencode", "bwrap"): opencode.in_container,
    ("claude", "bwrap"): claude.in_container,
    ("command", "bwrap"): command.anywhere,
}


_READS: dict[str, Read] = {
    "codex": codex.read,
    "gemini": gemini.read,
    "opencode": opencode.read,
    "claude": claude.read,
}


def read(runtime: str) -> Read | None:
    """How the output of a CLI that tells events is read; None for an agent whose lines are its own."""
    return _READS.get(runtime)


def adapter(runtime: str, engine: str) -> Adapter:
    """The adapter of `runtime` (`agent.runtime` of a flow) on the engine of that name."""
    found = _ADAPTERS.get((runtime, engine))
    if found is None:
        supported = ", ".join(f"{name} ({place})" for name, place in _ADAPTERS)
        raise Invalid(
            "not_supported_yet",
            f"The agent runtime {runtime!r} does not run on the {engine} engine yet.",
            f"Supported now: {supported}.",
        )
    return found


def plan(runtime: str, engine: str, brief: Brief) -> AgentPlan:
    return adapter(runtime, engine)(brief)
