"""What a hardened container reaches of the world, of this host and of other agents, and what its start costs.

    scripts/show isolation [--short]

Each try is also made by an ordinary container of the same image, which must get through: figures are "reached of tried,
by an ordinary container". Needs root: the other host is a network namespace. `--short` starts fewer containers, scans
fewer ports and leaves out the tests of bubblewrap's sandbox and of the egress door. Prints `name: value` lines; exit 0
when all holds, 1 when not, 2 when something it needs is missing.
"""

import secrets
import subprocess
import sys
import tempfile
from pathlib import Path

import anyio

from bench.container_starts import compared
from bench.figures import say
from kit import observe
from runner import images
from tests.components import COMPONENTS
from tests.runner.containers import begin, first, job
from tests.runner.outside import outside, overheard
from tests.runner.tries import address_of, addresses_of_this_host, led, relay_of, serving, tried, tried_by_another

STARTS, SHORT_STARTS = 15, 5
NEEDS = ("docker", "node", "netns")
BESIDE = {"bubblewrap": "tests/runner/test_bwrap.py", "egress_door": "tests/access/test_egress.py"}
GATEWAY = "10.231.255.1"
BRIEFLY = ("--dns-opt", "timeout:1", "--dns-opt", "attempts:1")


class Shown:
    """Figures, and whether all of them hold."""

    def __init__(self) -> None:
        self.held = True

    def say(self, name: str, value: object, holds: bool) -> None:
        self.held &= holds
        say(name, f"{value}{'' if holds else '  DOES NOT HOLD'}")

    def tries(self, name: str, ours: int, ordinary: int, tried: int) -> None:
        """An ordinary container must reach something, else the try says nothing."""
        self.say(name, f"{ours} of {tried} (an ordinary container: {ordinary})", ours == 0 and ordinary > 0)


async def world(shown: Shown) -> None:
    instance, label = f"show-{secrets.token_hex(4)}", f"leak{secrets.token_hex(8)}"
    with outside() as other, overheard(label.encode()) as packets:
        targets = [[host, port] for host in other.addresses for port in other.ports]
        asked = [[host, label] for host in (*other.addresses, *addresses_of_this_host())]
        tries = {"tcp": targets, "names": [f"{label}.example", label], "ask": asked}
        async with led(instance, 1) as engine:
            got = await tried(engine, instance, tries)
        leaked, questions = len(packets), len(other.came)
        ordinary = await tried_by_another(tries, "--dns", other.addresses[0], *BRIEFLY)
        shown.tries("outside_and_metadata_reached", len(got["tcp"]), len(ordinary["tcp"]), len(targets))
        shown.tries("packets_with_a_name_seen_on_any_interface", leaked, len(packets) - leaked, len(asked) + 2)
        shown.say("questions_and_connections_at_the_other_host", questions, questions == 0)


async def host(shown: Shown, few: bool) -> None:
    instance = f"show-{secrets.token_hex(4)}"
    with serving(GATEWAY) as port, serving("::") as service:
        async with led(instance, port) as engine:
            around = [[there, open_] for there in addresses_of_this_host() for open_ in (port, service)]
            tries = {"tcp": [*around, ["preloop", port]], "names": []}
            got = (await tried(engine, instance, tries))["tcp"]
            ports = [max(1, port - 2000), min(65535, port + 2000)] if few else [1, 65535]
            scan = await tried(engine, instance, {"tcp": [], "names": [], "ports_of": ["preloop", *ports]}, part="scan")
        ordinary = (await tried_by_another({"tcp": around, "names": []}))["tcp"]
        plane = ["preloop", port]
        shown.say("control_plane_reached", plane in got, plane in got)
        shown.tries("other_ports_of_this_host_reached", len(got) - (plane in got), len(ordinary), len(around))
        shown.say(
            "open_ports_of_the_relay", f"{len(scan['ports'])} of {ports[1] - ports[0] + 1}", scan["ports"] == [port]
        )


async def agents(shown: Shown) -> None:
    instance = f"show-{secrets.token_hex(4)}"
    with serving(GATEWAY) as port:
        async with led(instance, port) as engine:
            script = "echo ready; while :; do nc -l -p 7000 -e echo hi; done"
            peer = await begin(engine, job(instance, script, name=f"preloop-{instance}-peer"))
            await first(engine, peer, "ready")
            relay = await relay_of(instance)
            targets = [[await address_of(peer, peer), 7000]]
            targets += [[await address_of(relay, network), port] for network in (peer, "preloop")]
            got = await tried(engine, instance, {"tcp": targets, "names": [peer]})
            inside = {"tcp": targets[:1], "names": []}
            ordinary = await tried_by_another(inside, "--network", peer)
        shown.tries("another_agent_reached", len(got["tcp"]), len(ordinary["tcp"]), len(targets))


def beside(shown: Shown) -> None:
    """What has its own tests, with the same outside host."""
    for name, path in BESIDE.items():
        ran = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", path], capture_output=True, text=True
        )
        shown.say(f"{name}_tests", ran.stdout.strip().rpartition("\n")[2], ran.returncode == 0)


async def run(short: bool) -> bool:
    await images.build("scripted", report=lambda line: print(line, file=sys.stderr))
    shown = Shown()
    await world(shown)
    await host(shown, few=short)
    await agents(shown)
    with tempfile.TemporaryDirectory() as folder:
        await compared(Path(folder), SHORT_STARTS if short else STARTS, shown.say)
    if not short:
        beside(shown)
    return shown.held


def main() -> int:
    observe.configure("error")
    for name in NEEDS:
        if reason := COMPONENTS[name].missing():
            print(f"{name} is missing: {reason} ({COMPONENTS[name].install})", file=sys.stderr)
            return 2
    return 0 if anyio.run(run, "--short" in sys.argv[1:]) else 1


if __name__ == "__main__":
    sys.exit(main())
