"""The compose files: what docker-compose 1.29 says of them, and the plan of roles, secrets and networks."""

import re
import subprocess
from functools import cache
from typing import Any

import pytest
import yaml

from preloop.roles import Role
from preloop.settings import Settings, load
from tests.components import need, need_program
from tests.house.plan import ROOT

SMALL, SCALE = "compose.yaml", "compose.scale.yaml"
FOLDER = ROOT / "deploy" / "compose"
PLANES = {
    "web-1": Role.WEB,
    "web-2": Role.WEB,
    "gateway-1": Role.GATEWAY,
    "gateway-2": Role.GATEWAY,
    "mcp-1": Role.MCP,
    "mcp-2": Role.MCP,
    "runner": Role.RUNNER,
}
FILES = {role: f"PRELOOP_{role.upper()}_ENV" for role in Role}
"""Which file of variables a role gets: providers' keys are the gateway's alone, tools' credentials those of `mcp`."""
SOCKET = "/var/run/docker.sock"


@cache
def scale() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / SCALE).read_text())
    return found


def service(name: str) -> dict[str, Any]:
    found: dict[str, Any] = scale()["services"][name]
    return found


def mounted(name: str) -> dict[str, str]:
    """From what, by where."""
    found = {}
    for one in service(name).get("volumes", ()):
        source, target = re.fullmatch(r"(\$\{.*?\}|[^:]+):([^:]+)(?::ro)?", one).groups()  # type: ignore[union-attr]
        found[target] = source
    return found


@pytest.mark.parametrize("file", [SMALL, SCALE])
def test_docker_compose_1_29_takes_it(file: str) -> None:
    need_program("docker-compose")
    checked = subprocess.run(["docker-compose", "-f", file, "config", "-q"], cwd=ROOT, capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize("file", ["people.cfg", "agents.cfg"])
def test_haproxy_takes_its_settings(file: str) -> None:
    need("compose")
    checked = subprocess.run(["haproxy", "-c", "-f", FOLDER / file], cwd=ROOT, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


def test_every_role_is_served_and_all_but_the_runner_twice() -> None:
    assert {name: tuple(service(name)["command"]) for name in PLANES} == {
        name: ("serve", role.value) for name, role in PLANES.items()
    }
    assert set(scale()["services"]) == {*PLANES, "secrets", "database", "proxy", "agents"}


@pytest.mark.parametrize(("name", "role"), PLANES.items())
def test_a_role_gets_its_own_secrets_alone(name: str, role: Role) -> None:
    assert service(name)["env_file"] == [f"${{{FILES[role]}:-deploy/compose/none.env}}"]
    where = mounted(name)
    assert (SOCKET in where) == (role is Role.RUNNER)
    assert ("web-secret" in where.values()) == (role is Role.WEB)
    assert where["/data"] == name and "database-secret" in where.values()


def test_nobody_else_has_a_secret() -> None:
    assert {name for name in scale()["services"] if SOCKET in mounted(name)} == {"runner"}
    with_password = {name for name in scale()["services"] if "database-secret" in mounted(name).values()}
    assert with_password == {*PLANES, "database", "secrets"}


def test_no_password_stands_in_a_file() -> None:
    texts = [(ROOT / SCALE).read_text(), *(path.read_text() for path in FOLDER.iterdir() if path.suffix != ".sh")]
    assert not [text for text in texts if re.search(r"(?i)password['\"]?\s*[:=]\s*['\"]?\w", text)]
    assert "POSTGRES_PASSWORD" not in service("database")["environment"]


def test_agents_reach_one_container_and_it_stands_beside_the_doors_alone() -> None:
    networks = scale()["networks"]
    agents = networks["agents"]
    assert agents["internal"] is True
    assert agents["driver_opts"] == {"com.docker.network.bridge.inhibit_ipv4": "true"}
    on = {name for name in scale()["services"] if "agents" in service(name).get("networks", ())}
    assert on == {"agents"}
    assert set(service("agents")["networks"]) == {"agents", "doors"}
    doors = {name for name in scale()["services"] if "doors" in service(name).get("networks", ())}
    assert doors == {"agents", *(name for name, role in PLANES.items() if role in (Role.GATEWAY, Role.MCP))}
    assert {name for name, network in networks.items() if not (network or {}).get("internal")} == {"front"}
    assert "ports" not in {key for name in set(scale()["services"]) - {"proxy"} for key in service(name)}


def test_the_runner_is_told_of_the_network_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    agents = scale()["networks"]["agents"]
    found = settings_of("runner", monkeypatch)
    assert (found.runner.network_name, str(found.runner.network)) == (
        agents["name"],
        agents["ipam"]["config"][0]["subnet"],
    )
    assert str(found.runner.door) == service("agents")["networks"]["agents"]["ipv4_address"]
    config = (FOLDER / "agents.cfg").read_text()
    for url, role in ((found.runner.mcp_url, "mcp"), (found.runner.gateway_url, "gateway")):
        assert f"frontend {role}\n    bind :{url.rpartition(':')[2]}\n" in config


@pytest.mark.parametrize("name", PLANES)
def test_its_settings_are_settings(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings_of(name, monkeypatch).server.container_host == "0.0.0.0"


@pytest.mark.parametrize("file", ["people.cfg", "agents.cfg"])
def test_the_proxies_lead_to_every_replica_and_ask_whether_it_lives(file: str) -> None:
    lines = (FOLDER / file).read_text()
    assert "uri /healthz ver HTTP/1.1 hdr Host localhost" in lines
    served = {*Role} - {Role.RUNNER}
    named = set(re.findall(r"^    server \S+ (\S+):80", lines, re.MULTILINE))
    assert named == {
        n for n, role in PLANES.items() if role in (served if file == "people.cfg" else served - {Role.WEB})
    }


def settings_of(name: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """As a plane of that service reads them, without what is made at the first start."""
    for key, value in service(name)["environment"].items():
        if key.startswith("PRELOOP_") and not key.endswith(("_FILE", "_CONFIG")):
            monkeypatch.setenv(key, re.sub(r"\$\{\w+:-(.*)\}", r"\1", value))
    return load(config=FOLDER / "preloop.toml")
