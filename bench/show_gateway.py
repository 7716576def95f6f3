"""What a model call costs through our gateway, beside LiteLLM's proxy, Portkey and nginx; and many streams at once.

    scripts/show gateway [--short]

Ours is a process of its own with tokens, three budgets, the ledger and metrics on; LiteLLM's proxy has a master key and
no database, Portkey nothing. Servers take turns within a round, every other round in reverse; figures are medians. CPU
is of the server's whole process tree per answered request. `--short` has fewer rounds of one second.
Prints `name: value` lines; exit 0 when every target holds, 1 when one does not, 2 when a part is missing.
"""

import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from bench import gateway_streams, load, model_gateways
from bench.figures import say
from bench.gateway_start import start
from bench.load import Run, Server
from bench.model_answers import EVENTS, PROOFS, QUESTIONS
from bench.model_gateways import CHAT

WARM_CONNECTIONS = 4


class Targets:
    """What has to hold; each is said with its limit, and remembered."""

    def __init__(self) -> None:
        self.missed: list[str] = []

    def at_least(self, name: str, value: float, least: float) -> None:
        self._say(name, value, value >= least, f"at least {least:g}")

    def at_most(self, name: str, value: float, most: float) -> None:
        self._say(name, value, value <= most, f"at most {most:g}")

    def _say(self, name: str, value: float, held: bool, limit: str) -> None:
        say(name, f"{value:.3g} ({limit}{'' if held else ', MISSED'})")
        if not held:
            self.missed.append(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How much is measured."""

    rounds: int
    seconds: int


FULL, SHORT = Pace(rounds=5, seconds=2), Pace(rounds=2, seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One question asked of several servers in turn, over so many connections."""

    name: str
    servers: tuple[Server, ...]
    connections: int

    def play(self, folder: Path, pace: Pace) -> dict[str, Run]:
        """The median run of each server."""
        body = folder / f"{self.name}.json"
        body.write_bytes(QUESTIONS[self.name])
        runs: dict[str, list[Run]] = {server.name: [] for server in self.servers}
        for server in self.servers:
            load.once(server, QUESTIONS[self.name], PROOFS[self.name])
            load.post(server, body, connections=WARM_CONNECTIONS, seconds=1)
        for number in range(pace.rounds):
            for server in self.servers[:: -1 if number % 2 else 1]:
                run = load.post(server, body, connections=self.connections, seconds=pace.seconds)
                runs[server.name].append(run)
        return {name: self._median(name, found) for name, found in runs.items()}

    def _median(self, name: str, runs: Sequence[Run]) -> Run:
        def of(figure: Callable[[Run], float]) -> float:
            return statistics.median(map(figure, runs))

        found = Run(
            requests=sum(run.requests for run in runs),
            per_s=of(lambda run: run.per_s),
            p50_ms=of(lambda run: run.p50_ms),
            p99_ms=of(lambda run: run.p99_ms),
            cpu_ms=of(lambda run: run.cpu_ms),
        )
        figures = (
            f"{found.per_s:.0f}/s, p50 {found.p50_ms:.2f} ms, p99 {found.p99_ms:.2f} ms, CPU {found.cpu_ms:.3f} ms"
        )
        say(f"{self.name}_c{self.connections}_{name}", figures)
        return found


def compare(servers: dict[str, Server], folder: Path, pace: Pace, targets: Targets) -> None:
    direct, nginx, ours, litellm = (servers[name] for name in ("direct", "nginx", "preloop", "litellm"))

    many = Scene(name="small", servers=tuple(servers.values()), connections=32).play(folder, pace)
    targets.at_least("throughput_over_litellm", many["preloop"].per_s / many["litellm"].per_s, 30)
    targets.at_least("throughput_over_portkey", many["preloop"].per_s / many["portkey"].per_s, 4)
    targets.at_most("cpu_of_a_request_over_nginx", many["preloop"].cpu_ms / many["nginx"].cpu_ms, 15)
    say("throughput_over_litellm_strict", f"{many['strict'].per_s / many['litellm'].per_s:.3g}")

    one = Scene(name="small", servers=(direct, ours, litellm), connections=1).play(folder, pace)
    added = {name: run.p50_ms - one["direct"].p50_ms for name, run in one.items()}
    targets.at_most("added_p50_ms", added["preloop"], 0.5)
    targets.at_least("added_p50_litellm_over_ours", added["litellm"] / added["preloop"], 30)

    both = (replace(nginx, url=nginx.url.replace("/v1/", "/streamed/")), ours, litellm)
    streams = Scene(name="streamed", servers=both, connections=4).play(folder, pace)
    say("cpu_us_of_a_chunk", f"{streams['preloop'].cpu_ms * 1000 / EVENTS:.1f}")
    targets.at_least("cpu_of_a_chunk_litellm_over_ours", streams["litellm"].cpu_ms / streams["preloop"].cpu_ms, 12)

    large = Scene(name="large", servers=(nginx, ours, litellm), connections=4).play(folder, pace)
    targets.at_least("cpu_of_127_kb_litellm_over_ours", large["litellm"].cpu_ms / large["preloop"].cpu_ms, 30)

    translated = Scene(name="translated", servers=(ours, litellm), connections=32).play(folder, pace)
    ratio = translated["preloop"].per_s / translated["litellm"].per_s
    targets.at_least("translated_throughput_over_litellm", ratio, 12)


def run(pace: Pace) -> bool:
    targets = Targets()
    say("python", sys.version.partition("\n")[0])
    say("load_average", "{:.2f} {:.2f} {:.2f}".format(*os.getloadavg()))
    with tempfile.TemporaryDirectory() as at, ExitStack() as stack:
        folder = Path(at)
        direct = stack.enter_context(model_gateways.upstream(folder))
        start(folder, direct, targets.at_most)
        gateway_streams.hold(folder, targets.at_most, short=pace is SHORT)
        servers = [direct, stack.enter_context(model_gateways.nginx(folder, direct))]
        for name, strict in (("preloop", False), ("strict", True)):
            servers.append(stack.enter_context(model_gateways.preloop(folder, direct, name, strict=strict)))
        with ThreadPoolExecutor() as starting:
            peers = model_gateways.litellm(folder, direct), model_gateways.portkey(folder, direct)
            servers += starting.map(stack.enter_context, peers)
        compare({server.name: _chat(server) for server in servers}, folder, pace, targets)
    say("missed", ", ".join(targets.missed) or "none")
    say("holds", "no" if targets.missed else "yes")
    return not targets.missed


def _chat(server: Server) -> Server:
    return replace(server, url=server.url + CHAT)


def main() -> int:
    if absent := model_gateways.missing():
        for name, command in absent.items():
            print(f"{name} is missing: {command}", file=sys.stderr)
        return 2
    return 0 if run(SHORT if "--short" in sys.argv[1:] else FULL) else 1


if __name__ == "__main__":
    sys.exit(main())
