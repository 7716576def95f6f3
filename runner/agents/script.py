"""From what an agent needs (`AgentPlan`) to what an engine starts (`Job`): the files and variables of the entry script.

Every agent is started the same way, by `entry.sh` in its job's folder; what differs is data in `.preloop/` there,
beside its work folder. Values of a flow become files, never parts of a script. Knows no engine: paths are made absolute
by the script, where it runs.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from control.flows.direct import Direct, Wire
from kit.errors import Invalid
from runner.engine import Job

WORK = "work"
"""The folder in which init and the agent work."""
ENTRY_SCRIPT = Path(__file__).with_name("entry.sh")
GUARD_SCRIPT = Path(__file__).with_name("guard.sh")
CHANGES_SCRIPT = Path(__file__).with_name("changes.sh")
HAND_SCRIPT = Path(__file__).with_name("hand.sh")

INSTANCE_LABEL = "preloop.instance"
EXECUTION_LABEL = "preloop.execution"

CALL_LIMIT_S = 86_400
"""What a CLI may wait for a tool: an approval can take as long as a run may, and no CLI's own patience is that long."""
RETRIES = 2
"""How often a CLI may ask a model again by itself: the gateway has tried what there is."""

_PATHS: Mapping[Wire, str] = {"openai": "/openai/v1", "anthropic": "/anthropic", "gemini": "/gemini"}
_URLS: Mapping[Wire, str] = {
    "openai": "OPENAI_BASE_URL",
    "anthropic": "ANTHROPIC_BASE_URL",
    "gemini": "GOOGLE_GEMINI_BASE_URL",
}
_FOREIGN = "preloop-"
"""The gateway takes an alias with and without it."""
_WIRE_KEYS = ("OPENAI_API_KEY", "ANTHROPIC_AUTH_TOKEN", "GEMINI_API_KEY")
_DIRECT_KEYS: Mapping[Wire, str] = {
    "openai": "OPENAI_API_KEY",
    "anthropic": "ANTHROPIC_API_KEY",
    "gemini": "GEMINI_API_KEY",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Brief:
    """What a run asks of an agent, whatever its runtime: the input of an adapter."""

    execution_id: str
    model: str
    prompt: str
    payload_json: str
    mcp_url: str
    gateway_url: str
    """The gateway's origin, without a wire's path."""
    control_url: str
    init: tuple[str, ...] = ()
    init_timeout_s: int = 0
    """0 is none."""
    post_exec_sleep_s: int = 0
    image: str = ""
    """Of an agent that brings its own; the adapters of known CLIs have theirs."""
    command: tuple[str, ...] = ()
    egress: bool = False
    """Does the flow name hosts outside?"""
    git_hosts: tuple[str, ...] = ()
    """The hosts of the repositories it names."""
    hands_over: bool = False
    """Does the entry script bring what the agent left, since the engine can't read it?"""
    direct: Direct | None = None
    """The provider's key that the agent gets in the place of the gateway; its `model` is the brief's then."""

    def base(self, wire: Wire) -> str:
        """Where clients of this wire find the model."""
        return self.direct.url if self.direct else self.gateway_url + _PATHS[wire]

    @property
    def key_variable(self) -> str:
        """What holds the key for it, in the agent's environment."""
        return _DIRECT_KEYS[self.direct.wire] if self.direct else "PRELOOP_API_TOKEN"

    @property
    def slug(self) -> str:
        """The model as a CLI is to ask for it: by no name that it knows, since known ones switch habits of theirs. Past
        the gateway nobody but us knows another than the provider's."""
        return self.model if self.direct or self.model.startswith(_FOREIGN) else f"{_FOREIGN}{self.model}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentPlan:
    """What one agent CLI needs to do a brief; made by its adapter."""

    image: str
    argv: tuple[str, ...]
    stdin: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    """Paths relative to the job's folder."""
    env: Mapping[str, str] = field(default_factory=dict)
    paths: Mapping[str, str] = field(default_factory=dict)
    """Variables that name a place in the job's folder: variable -> relative path."""
    gateway: bool = True
    """Whether the usual base-URL and key variables of the model wires are set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the engine may give one agent."""

    memory_bytes: int = 2 << 30
    cpus: float = 1.0
    pids: int = 256


def assemble(
    plan: AgentPlan, brief: Brief, *, name: str, instance: str, bootstrap_token: str, limits: Limits | None = None
) -> Job:
    """The job an engine starts. `bootstrap_token` is the only secret in it, and it is worth one exchange."""
    room = limits or Limits()
    return Job(
        name=name,
        image=plan.image,
        argv=("sh", ".preloop/entry.sh"),
        env=_environment(plan, brief) | {"PRELOOP_BOOTSTRAP_TOKEN": bootstrap_token},
        files={path: text.encode(errors="replace") for path, text in _files(plan, brief).items()},
        memory_bytes=room.memory_bytes,
        cpus=room.cpus,
        pids=room.pids,
        labels={INSTANCE_LABEL: instance, EXECUTION_LABEL: brief.execution_id},
    )


def _environment(plan: AgentPlan, brief: Brief) -> dict[str, str]:
    wires = [brief.direct.wire] if brief.direct else [*_URLS]
    return {
        **({_URLS[wire]: brief.base(wire) for wire in wires} if plan.gateway else {}),
        **plan.env,
        "PRELOOP_MCP_URL": brief.mcp_url,
        "PRELOOP_GATEWAY_URL": brief.gateway_url,
        "PRELOOP_CONTROL_URL": brief.control_url,
        "PRELOOP_MODEL": brief.model,
        "PRELOOP_EXECUTION_ID": brief.execution_id,
        "PRELOOP_INIT_TIMEOUT": str(brief.init_timeout_s),
        "AGENT_POST_EXEC_SLEEP": str(brief.post_exec_sleep_s),
    }


def _files(plan: AgentPlan, brief: Brief) -> dict[str, str]:
    paths = {
        "PRELOOP_PROMPT_FILE": ".preloop/prompt.txt",
        "PRELOOP_PAYLOAD_FILE": ".preloop/payload.json",
        **plan.paths,
    }
    keys = ["PRELOOP_API_TOKEN", *(_WIRE_KEYS if plan.gateway and not brief.direct else ())]
    files = {
        **plan.files,
        ".preloop/entry.sh": ENTRY_SCRIPT.read_text(),
        ".preloop/guard.sh": GUARD_SCRIPT.read_text(),
        ".preloop/changes.sh": CHANGES_SCRIPT.read_text(),
        ".preloop/prompt.txt": brief.prompt,
        ".preloop/payload.json": brief.payload_json,
        ".preloop/argv": _lines(escape(argument) for argument in plan.argv),
        ".preloop/stdin": plan.stdin,
        ".preloop/paths": _lines(f"{name} {path}" for name, path in paths.items()),
        ".preloop/keys": _lines(keys if brief.direct is None else [*keys, f"{brief.key_variable} direct"]),
    }
    if brief.direct and brief.direct.key:
        files[".preloop/direct"] = brief.direct.key.get_secret_value()
    if brief.egress or brief.git_hosts:
        files[".preloop/doors"] = _lines(
            [*(["egress"] if brief.egress else []), *(f"git {h}" for h in brief.git_hosts)]
        )
    if brief.hands_over:
        files[".preloop/hand.sh"] = HAND_SCRIPT.read_text()
    return files | {".preloop/init.sh": _lines(brief.init)} if brief.init else files


def escape(argument: str) -> str:
    """One argument on one line, as `printf %b` reads it back. No process takes a NUL in an argument."""
    if "\0" in argument:
        raise Invalid("argument_invalid", "An argument of the agent's command contains a NUL character.")
    return argument.replace("\\", "\\\\").replace("\n", "\\n")


def _lines(items: Iterable[str]) -> str:
    return "".join(f"{item}\n" for item in items)
