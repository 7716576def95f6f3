"""One gateway process and two beside each other over one PostgreSQL, in turn within each round: how many calls they
answer, and what a call costs. The load and the upstream take processors of the same machine."""

import os
import statistics
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import gateway_house, load, model_gateways
from bench.load import Run, Server
from bench.model_answers import PROOFS, QUESTIONS

CONNECTIONS = 16
"""At each gateway."""
WARM_S = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """Medians over the rounds: calls a second and milliseconds of CPU for each, by how many gateways there were."""

    per_s: dict[int, float]
    cpu_ms: dict[int, float]


def measured(folder: Path, database: str, *, most: int, rounds: int, seconds: int) -> Throughput:
    """With 1 to `most` gateways."""
    body = folder / "small.json"
    body.write_bytes(QUESTIONS["small"])
    runs: dict[int, list[list[Run]]] = {many: [] for many in (1, 2, 4) if many <= most}
    with ExitStack() as stack:
        upstream = stack.enter_context(model_gateways.upstream(folder))
        servers = stack.enter_context(_gateways(folder, upstream, database, most))
        for server in servers:
            load.once(server, QUESTIONS["small"], PROOFS["small"])
            load.post(server, body, connections=CONNECTIONS, seconds=WARM_S)
        for number in range(rounds):
            for many in sorted(runs, reverse=bool(number % 2)):
                runs[many].append(_asked(servers[:many], body, seconds))
    return Throughput(
        per_s={many: statistics.median(sum(one.per_s for one in some) for some in its) for many, its in runs.items()},
        cpu_ms={many: statistics.median(map(_cpu_ms, its)) for many, its in runs.items()},
    )


def _asked(servers: list[Server], body: Path, seconds: int) -> list[Run]:
    """All of them at the same time."""

    def ask(server: Server) -> Run:
        return load.post(server, body, connections=CONNECTIONS, seconds=seconds)

    with ThreadPoolExecutor(len(servers)) as clients:
        return list(clients.map(ask, servers))


def _cpu_ms(runs: list[Run]) -> float:
    return sum(run.cpu_ms * run.requests for run in runs) / sum(run.requests for run in runs)


@contextmanager
def _gateways(folder: Path, upstream: Server, database: str, many: int) -> Iterator[list[Server]]:
    at = folder / "gateways"
    told = model_gateways.settings(upstream.url)
    token = gateway_house.prepare(at, told, budget_nano=model_gateways.WORTH_NANO, database=database)
    with ExitStack() as stack:
        env = os.environ | {"BENCH_DATABASE": database}
        running = [stack.enter_context(gateway_house.serving(at, env)) for _ in range(many)]
        headers = (f"authorization: Bearer {token}",)
        yield [
            Server(name="gateway", url=f"{one.origin}/openai{model_gateways.CHAT}", pid=one.pid, headers=headers)
            for one in running
        ]
