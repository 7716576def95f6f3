"""What a proxied tool call costs beside two other gateways, and what a thousand waiting ones hold.

    scripts/show mcp [--short]

CPU is of each server's whole process tree, per call, in rounds that take turns; ours has policy, audit and durable rows
on, as always. `--short` has fewer rounds, half the calls in each and 300 calls that wait, in as much of the memory.
Prints `name: value` lines; exit 0 when every target holds, 1 when one does not, 2 when a peer is missing.
"""

import statistics
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import anyio

from bench import mcp_calls, mcp_gateways, mcp_waiting, processes
from bench.figures import say
from bench.mcp_gateways import LEGACY, Gateway

ROUNDS, SHORT_ROUNDS = 7, 3
CALLS = {"preloop": 400, "fastmcp": 40, "contextforge": 40}
"""In one round: one to two seconds of CPU each."""
WAITING, SHORT_WAITING = 1000, 300
WARM = 30
AT_ONCE = 4
MEDIANS, EVERY_PAIR = 20.0, 10.0
"""How many times less CPU a call must cost here: by the medians, and in each pair of neighbouring rounds."""


async def cost_ms(to: Gateway, calls: int) -> float:
    """CPU milliseconds of the server for one call."""
    async with mcp_calls.session() as http:
        before = processes.cpu_s(to.pid)
        await mcp_calls.many(http, to, calls, AT_ONCE)
        return (processes.cpu_s(to.pid) - before) * 1000 / calls


async def efficiency(gateways: list[Gateway], rounds: int, share: int) -> bool:
    """Rounds take turns, so that whatever else the machine does falls on all of them. Each makes one in `share` of the
    calls."""
    cost: dict[str, list[float]] = {to.name: [] for to in gateways}
    for to in gateways:
        await cost_ms(to, WARM)
    for _ in range(rounds):
        for to in gateways:
            cost[to.name].append(await cost_ms(to, CALLS[to.name] // share))
    for to in gateways:
        say(f"cpu_ms_per_call_{to.name}", f"{statistics.median(cost[to.name]):.2f} (median, {to.wire} wire)")
    held = True
    for peer in gateways[1:]:
        medians = statistics.median(cost[peer.name]) / statistics.median(cost["preloop"])
        worst = min(theirs / ours for theirs, ours in zip(cost[peer.name], cost["preloop"], strict=True))
        say(f"times_less_than_{peer.name}", f"{medians:.1f} by medians, {worst:.1f} in the worst pair")
        held &= medians >= MEDIANS and worst >= EVERY_PAIR
    return held


async def compare(rounds: int, share: int = 1) -> bool:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        at = Path(folder)
        upstream = stack.enter_context(mcp_gateways.echo())
        plane = stack.enter_context(mcp_gateways.ours(upstream, at))
        with ThreadPoolExecutor() as starting:
            contexts = mcp_gateways.fastmcp(upstream, at), mcp_gateways.contextforge(upstream, at)
            peers = list(starting.map(stack.enter_context, contexts))
        held = await efficiency([plane.free, *peers], rounds, share)
        older = replace(plane.free, wire=LEGACY)
        await cost_ms(older, WARM)
        say("cpu_ms_per_call_preloop_older_wire", f"{await cost_ms(older, CALLS['preloop']):.2f} ({LEGACY} wire)")
    return held


async def run(short: bool) -> bool:
    held = await (compare(SHORT_ROUNDS, share=2) if short else compare(ROUNDS))
    waiting = SHORT_WAITING if short else WAITING
    return all([held, *[await mcp_waiting.hold(wire, waiting) for wire in mcp_waiting.LIMITS]])


def main() -> int:
    if absent := mcp_gateways.missing():
        for name, command in absent.items():
            print(f"{name} is missing: {command}", file=sys.stderr)
        return 2
    held = anyio.run(run, "--short" in sys.argv[1:])
    say("holds", "yes" if held else "no")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
