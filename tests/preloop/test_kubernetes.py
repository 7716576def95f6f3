"""Kubernetes as the engine that settings name, and the settings of deploy/kubernetes as its roles start with them."""

from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
from cryptography.fernet import Fernet

from kit.errors import Unsuitable
from preloop.house import Place, open_engine
from preloop.roles import Role
from preloop.serve import plane
from preloop.settings import Settings, load
from runner.engine import Job
from tests.fakes.kubernetes_api import kubernetes

BASE = Path(__file__).parents[2] / "deploy" / "kubernetes" / "base" / "preloop.toml"


def settings(tmp_path: Path, kubeconfig: Path) -> Settings:
    config = tmp_path / "preloop.toml"
    config.write_text(f"""
[runner]
engine = "kubernetes"
runtime = "gvisor"
stop_grace_s = 9
[runner.kubernetes]
kubeconfig = "{kubeconfig}"
plane = "127.0.0.1"
registry = "registry.example.com"
pull_secrets = ["registry"]
node_selector = {{pool = "agents"}}
tolerations = [{{key = "agents", operator = "Exists"}}]
disk_mb = 512
""")
    return load(config=config, data=tmp_path / "data")


async def test_what_settings_say_of_a_cluster_is_in_its_pods(tmp_path: Path) -> None:
    job = Job(name="job", image="preloop/codex", argv=("true",), env={}, files={"a": b""}, labels={})
    async with kubernetes(tmp_path) as (cluster, kubeconfig), AsyncExitStack() as stack:
        place = await stack.enter_async_context(open_engine(settings(tmp_path, kubeconfig)))
        assert isinstance(place, Place)
        assert (place.engine.name, place.host, place.gateway) == ("kubernetes", "preloop", None)
        await place.engine.start(job)
        (pod,) = cluster.of("pods")
    spec = pod["spec"]
    assert spec["containers"][0]["image"] == "registry.example.com/preloop/codex"
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert (spec["runtimeClassName"], spec["terminationGracePeriodSeconds"]) == ("gvisor", 9)
    assert (spec["nodeSelector"], spec["tolerations"]) == (
        {"pool": "agents"},
        [{"key": "agents", "operator": "Exists"}],
    )
    assert spec["volumes"][0]["emptyDir"]["sizeLimit"] == str(512 << 20)


async def test_a_cluster_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(Unsuitable, match="Nothing says where the cluster is"):
        async with open_engine(settings(tmp_path, tmp_path / "none")):
            pass


@pytest.mark.parametrize("role", [Role.WEB, Role.GATEWAY, Role.MCP])
async def test_a_role_starts_with_the_deployed_settings_and_its_own_secrets_alone(tmp_path: Path, role: Role) -> None:
    given = load(config=BASE, data=tmp_path / "data")
    key = {"seal_key": Fernet.generate_key().decode()} if role is Role.WEB else {}
    server = given.server.model_validate(given.server.model_dump() | {"port": 0, "container_port": 0} | key)
    async with plane(given.model_copy(update={"server": server}), say=lambda _: None, roles=frozenset({role})) as up:
        inside = up.house.settings.server
        async with httpx.AsyncClient(headers={"Host": "localhost"}) as probe:
            for path in ("/healthz", "/readyz"):
                assert (await probe.get(f"http://127.0.0.1:{inside.port}{path}")).status_code == 200
        async with httpx.AsyncClient(headers={"Host": "preloop:8081"}) as agent:
            answer = await agent.post(f"http://127.0.0.2:{inside.container_port}/api/v1/agent/token")
            assert answer.status_code == (401 if role is Role.MCP else 404)
