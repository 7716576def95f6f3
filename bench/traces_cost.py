"""What traces cost a gateway's call: one gateway without the layer that listens to its commits and times its answers,
one with it and no traces, one that sends a span of every call to a collector. In turns, as ratios of one run.

    python -m bench.traces_cost [--rounds 6] [--seconds 3]

Needs wrk and nginx (Debian's); nginx is the models' provider and the collector.
"""

import argparse
import os
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path

import msgspec

from bench import load, model_answers
from bench.figures import say
from bench.load import Run, Server
from bench.model_gateways import CHAT, preloop, upstream

ABREAST = 32
KINDS = ("bare", "off", "on")


def main() -> None:
    wanted = argparse.ArgumentParser()
    wanted.add_argument("--rounds", type=int, default=6)
    wanted.add_argument("--seconds", type=int, default=3)
    options = wanted.parse_args()
    with tempfile.TemporaryDirectory() as made, ExitStack() as stack:
        folder = Path(made)
        provider = stack.enter_context(upstream(folder))
        (folder / "answers/v1/traces").write_bytes(b"")
        body = folder / "body.json"
        body.write_bytes(msgspec.json.encode(model_answers.ask("whole")))
        told = {"bare": {"BENCH_BARE": "1"}, "off": {}, "on": {"BENCH_OTLP": f"{provider.url}/v1/traces"}}
        gateways = {
            kind: stack.enter_context(preloop(folder, provider, kind, os.environ | told[kind])) for kind in KINDS
        }
        asked = {kind: _chat(one) for kind, one in gateways.items()}
        for server in asked.values():
            load.once(server, body.read_bytes(), "A few words")
        rounds = [_round(asked, body, options.seconds, first=number) for number in range(options.rounds)]
    for kind in ("off", "on"):
        for name, abreast in (("cpu_ms", ABREAST), ("p50_ms", 1), ("per_s", ABREAST)):
            ratios = [getattr(one[kind, abreast], name) / getattr(one["bare", abreast], name) for one in rounds]
            spread = f"{min(ratios):.3f} to {max(ratios):.3f}"
            say(f"{kind}_to_bare_{name}_at_{abreast}", f"{statistics.median(ratios):.3f} ({spread})")


def _chat(gateway: Server) -> Server:
    return Server(name=gateway.name, url=f"{gateway.url}{CHAT}", pid=gateway.pid, headers=gateway.headers)


def _round(asked: dict[str, Server], body: Path, seconds: int, *, first: int) -> dict[tuple[str, int], Run]:
    """Each round another one begins."""
    turns = [KINDS[(first + number) % len(KINDS)] for number in range(len(KINDS))]
    return {
        (kind, abreast): load.post(asked[kind], body, connections=abreast, seconds=seconds)
        for abreast in (ABREAST, 1)
        for kind in turns
    }


if __name__ == "__main__":
    main()
