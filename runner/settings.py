"""What an operator sets about running agents: `[runner]` of preloop.toml."""

from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Origin = Annotated[str, StringConstraints(pattern=r"^(https?://[^/?#\s]+)?$")]


class KubernetesSettings(BaseModel):
    """`[runner.kubernetes]`: which cluster, and what its pods need there."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kubeconfig: str = ""
    """A file; empty: the runner is a pod itself and signs in as its service account."""
    context: str = ""
    namespace: str = "preloop-agents"
    plane: str = ""
    """The Service of the containers' listener, as the runner resolves it: agents find it as `preloop`."""
    registry: str = ""
    """What stands before `preloop/codex` and our other images, like registry.example.com/team."""
    pull_secrets: tuple[str, ...] = ()
    node_selector: dict[str, str] = {}
    tolerations: tuple[dict[str, str | int], ...] = ()
    disk_mb: int = Field(default=4096, ge=64)
    """For the work folder of each agent."""


class SwarmSettings(BaseModel):
    """`[runner.swarm]`: what agents need in the swarm whose manager's engine `docker_socket` is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: str = Field(default="preloop-agents", min_length=1)
    """An internal overlay network, on which agents find the containers' listener as `preloop`."""
    registry: str = ""
    """What stands before `preloop/codex` and our other images, where nodes pull them."""
    constraints: tuple[str, ...] = ()
    """Which nodes agents are for, like `node.labels.agents==yes`."""


class RunnerSettings(BaseModel):
    """`engine` auto takes Docker where it answers, else bubblewrap; the process engine isolates nothing and must be
    named, and so must Kubernetes and Swarm."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    engine: Literal["auto", "docker", "bwrap", "process", "kubernetes", "swarm"] = "auto"
    docker_socket: str = "unix:///var/run/docker.sock"
    runtime: str = ""
    """Of agents' containers, by its name at the engine, like runsc; empty: the engine's own default. Under Kubernetes a
    RuntimeClass."""
    network: IPv4Network = IPv4Network("10.231.255.0/24")
    """Between this machine and the relay."""
    network_name: str = Field(default="preloop", min_length=1)
    door: IPv4Address | None = None
    """Who leads agents to planes in containers: an address on `network`, which is made with them. Without it they find
    the planes on this machine."""
    agent_networks: IPv4Network = IPv4Network("10.231.0.0/17")
    """What the networks of agents are cut from, a /29 each."""
    parallel: int = Field(default=20, ge=1, le=1000)
    stop_grace_s: float = Field(default=5.0, ge=0, le=300)
    mcp_url: Origin = ""
    """Where agents reach the containers' listener of role `mcp`; empty: in the runner's own process."""
    gateway_url: Origin = ""
    """The same of role `gateway`. In containers this machine is called `preloop`."""
    kubernetes: KubernetesSettings = KubernetesSettings()
    swarm: SwarmSettings = SwarmSettings()

    @model_validator(mode="after")
    def _networks_fit(self) -> "RunnerSettings":
        if self.agent_networks.prefixlen > 24:
            raise ValueError("agent_networks is smaller than a /24, which is room for 32 agents")
        if self.agent_networks.overlaps(self.network):
            raise ValueError("agent_networks and network overlap")
        if self.door is not None and self.door not in self.network:
            raise ValueError("door is no address of network")
        if self.engine == "swarm" and self.runtime:
            raise ValueError("a swarm has no runtime of a service: make it the default-runtime of its nodes' engines")
        return self
