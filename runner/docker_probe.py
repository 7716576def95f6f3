"""Can a container reach the control plane? Asked at start, so that a firewall is one clear error and not failing runs.

The container is hardened as every other and lives for one TCP connect.
"""

import secrets
from typing import Any
from urllib.parse import urlsplit

import anyio
from aiodocker import DockerError

from kit.errors import Unsuitable
from runner import docker_box
from runner.docker_door import DockerDoor, image_missing, unless
from runner.docker_network import Network

_TIMEOUT_S = 60.0
_NO_TOOL = 127

_CONNECT = """
if command -v node >/dev/null; then
    exec node -e 'const s = require("net").connect(+process.argv[2], process.argv[1]); s.setTimeout(5000)
s.on("connect", () => process.exit(0)).on("error", e => { console.log(e.message); process.exit(1) })
s.on("timeout", () => { console.log("no answer in 5 s"); process.exit(1) })' "$1" "$2"
elif command -v python3 >/dev/null; then
    exec python3 -c 'import socket, sys
try: socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)
except OSError as exc: sys.exit(str(exc))' "$1" "$2"
elif command -v curl >/dev/null; then
    curl -q -sS -m 5 -o /dev/null "http://$1:$2/"
    case $? in 7 | 28) exit 1 ;; *) exit 0 ;; esac
fi
exit 127
"""


async def probe(door: DockerDoor, network: Network, image: str, url: str) -> None:
    """Raises `Unsuitable('container_network_unreachable')` unless a connect from inside succeeds."""
    address = urlsplit(url)
    host, port = address.hostname or "", str(address.port or 80)
    name = f"preloop-probe-{secrets.token_hex(4)}"
    body = {
        "Image": image,
        "Entrypoint": ["sh", "-c", _CONNECT, "probe", host, port],
        "Cmd": [],
        "User": f"{docker_box.UID}:{docker_box.UID}",
        "HostConfig": {**docker_box.hardening(), **network.host_config(), "PidsLimit": 64, "Memory": 256 << 20},
    }
    code, said = await _run(door, name, body)
    if code == _NO_TOOL:
        raise Unsuitable(
            "image_unsuitable", f"The image {image} has neither node nor python3 nor curl.", "Build on preloop/base."
        )
    if code != 0:
        raise Unsuitable(
            "container_network_unreachable",
            f"A container can't reach the control plane at {url}: {said or f'exit code {code}'}.",
            f"A firewall of this machine may drop what comes from containers. Allow TCP from {network.subnet} "
            f"to {network.gateway} port {port}; with ufw: ufw allow from {network.subnet} to any port {port} proto tcp",
        )


async def _run(door: DockerDoor, name: str, body: dict[str, Any]) -> tuple[int, str]:
    """Exit code and output."""
    container = door.ask.containers.container(name)
    try:
        async with door.asking("run a probe container", _TIMEOUT_S):
            try:
                await door.ask.containers.create(body, name=name)
            except DockerError as exc:
                if exc.status == 404:
                    raise image_missing(body["Image"]) from exc
                raise
            await container.start()
            ended = await container.wait()
            said = await container.log(stdout=True, stderr=True)
        return ended["StatusCode"], "".join(said).strip()
    finally:
        with anyio.CancelScope(shield=True):
            async with door.asking("remove the probe container"):
                await unless(404, container.delete(force=True, v=True))
