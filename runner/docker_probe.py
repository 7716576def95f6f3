"""Can a container reach the control plane, and only through the relay? Asked at start, so that a firewall, or an engine
that makes other networks than it was asked for, is one clear error and not failing runs, or agents that are loose.

The container is hardened as every other and lives for two connections. An
answer counts: the relay takes connections also while no plane is there.
"""

import secrets
from typing import Any
from urllib.parse import urlsplit

import anyio
from aiodocker import DockerError

from kit.errors import Unsuitable
from runner import docker_box
from runner.docker_door import DockerDoor, image_missing, unless
from runner.docker_outer import Outer

_TIMEOUT_S = 60.0
_NO_TOOL = 127
_OPEN = 3

_CONNECT = """
try() { # HOST PORT SECONDS WHAT: is HTTP answered there (WHAT = answers), or a connection taken at all? Says why not.
    if command -v node >/dev/null; then
        node -e 'const [host, port, s, what] = process.argv.slice(1)
const ended = why => { console.log(why); process.exit(1) }
const socket = require("net").connect(port, host, () => {
  if (what !== "answers") process.exit(0)
  socket.write("GET / HTTP/1.0\\r\\nHost: " + host + "\\r\\n\\r\\n")
})
socket.on("data", () => process.exit(0)).on("error", e => ended(e.message)).on("end", () => ended("cut off"))
socket.setTimeout(s * 1000, () => ended("no answer in " + s + " s"))' "$@"
    elif command -v python3 >/dev/null; then
        python3 -c 'import socket, sys
host, port, s, what = sys.argv[1:]
try:
    there = socket.create_connection((host, int(port)), float(s))
    if what == "answers":
        there.sendall(b"GET / HTTP/1.0\\r\\nHost: %s\\r\\n\\r\\n" % host.encode())
        there.recv(1) or sys.exit("cut off")
except OSError as exc: sys.exit(str(exc))' "$@"
    elif command -v curl >/dev/null; then
        curl -q -sS -m "$3" -o /dev/null "http://$1:$2/"
        code=$?
        [ "$code" -eq 0 ] || [ "$4" != answers ] && [ "$code" -ne 7 ] && [ "$code" -ne 28 ]
    else
        exit 127
    fi
}
end=$(($(date +%s) + 8))
until try "$1" "$2" 5 answers; do # the relay may be just starting
    [ "$(date +%s)" -lt "$end" ] || exit 1
    sleep 1
done
try "$3" "$2" 0.5 takes >/dev/null 2>&1 && exit 3
exit 0
"""


def name() -> str:
    """Of a container, and of its network."""
    return f"preloop-probe-{secrets.token_hex(4)}"


def body(image: str, url: str, plane: str, network: dict[str, Any], runtime: str | None) -> dict[str, Any]:
    """A create request. `plane` is the address that the relay dials, and that nobody else may reach."""
    address = urlsplit(url)
    return {
        "Image": image,
        "Entrypoint": ["sh", "-c", _CONNECT, "probe", address.hostname or "", str(address.port or 80), plane],
        "Cmd": [],
        "User": f"{docker_box.UID}:{docker_box.UID}",
        "HostConfig": {
            **docker_box.hardening(),
            **network,
            **({"Runtime": runtime} if runtime else {}),
            "PidsLimit": 64,
            "Memory": 256 << 20,
        },
    }


async def run(door: DockerDoor, name: str, body: dict[str, Any], url: str, outer: Outer) -> None:
    """Raises `Unsuitable('container_network_unreachable')` or `('container_network_open')`."""
    code, said = await _run(door, name, body)
    if code == _NO_TOOL:
        raise Unsuitable(
            "image_unsuitable",
            f"The image {body['Image']} has neither node nor python3 nor curl.",
            "Build on preloop/base.",
        )
    if code == _OPEN:
        raise Unsuitable(
            "container_network_open",
            f"A container reaches {outer.plane} past the relay: its networks don't isolate.",
            "Docker Engine from 20.10 on knows `internal` and `inhibit_ipv4`; `docker version` tells what this is.",
        )
    if code != 0:
        port = urlsplit(url).port
        raise Unsuitable(
            "container_network_unreachable",
            f"A container can't reach the control plane at {url}: {said or f'exit code {code}'}.",
            f"A firewall of this machine may drop what comes from the relay. Allow TCP from {outer.subnet} to "
            f"{outer.plane} port {port}; with ufw: ufw allow from {outer.subnet} to any port {port} proto tcp",
        )


async def _run(door: DockerDoor, name: str, body: dict[str, Any]) -> tuple[int, str]:
    """Exit code and the last line of the output."""
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
        return ended["StatusCode"], "".join(said).strip().rpartition("\n")[2]
    finally:
        with anyio.CancelScope(shield=True):
            async with door.asking("remove the probe container"):
                await unless(404, container.delete(force=True, v=True))
