"""The model gateway in a process of its own, as a role of several will have it: containers' listener alone, on a
database that is there already.

    python -m bench.gateway_role FOLDER     (settings in FOLDER/gateway.json; see `bench/gateway_house`)

Says where it listens and goes on until SIGTERM. `BENCH_DATABASE` is a PostgreSQL that several share, each with journals
of its own. `BENCH_OTLP` is where its spans go; with `BENCH_BARE` nothing listens to its commits and times its answers,
which a plane always does.
"""

import os
import signal
import sys
from pathlib import Path

import anyio
from starlette.types import Receive, Scope, Send

from control.identity.doorkeeper import Doorkeeper, Listener
from gateway.opening import open_gateway
from gateway.settings import GatewaySettings
from kit import asgi, observe
from kit.bus import Bus
from kit.db_heard import Heard
from preloop.cli import run_async
from preloop.database import open_database
from preloop.listen import Served, bind, listening, port_of, spare_collector
from preloop.tracing import Sends, traced


async def serve(folder: Path) -> None:
    settings = GatewaySettings.model_validate_json(await anyio.Path(folder / "gateway.json").read_bytes())
    bus = Bus()
    url = os.environ.get("BENCH_DATABASE")
    db = await open_database(folder, url, bus)
    heard, bare = Heard(db), "BENCH_BARE" in os.environ
    socket = bind("127.0.0.1", 0)
    with anyio.open_signal_receiver(signal.SIGTERM) as signals:
        journal, used = folder / (f"journal-{os.getpid()}" if url else "journal"), db if bare else heard
        async with (
            traced(heard, _exporter()),
            open_gateway(db=used, bus=bus, settings=settings, folder=journal, shared=url is not None) as gateway,
        ):
            app = gateway.app(Doorkeeper(used, bus, Listener.CONTAINERS))

            async def timed(scope: Scope, receive: Receive, send: Send) -> None:
                await app(scope, receive, asgi.timed(send, "gateway"))

            inner = asgi.Hosts(app if bare else timed, allowed=["127.0.0.1"])
            async with listening(Served(app=asgi.Faults(inner), sockets=[socket])):
                spare_collector()
                print(f"listens on http://127.0.0.1:{port_of(socket)}", flush=True)
                async for _ in signals:
                    break
    await db.close()


def _exporter() -> Sends | None:
    if not (collector := os.environ.get("BENCH_OTLP")):
        return None
    from kit.otlp import Exporter  # as a plane: only where traces are on

    return Exporter(service="bench", scope="bench", ratio=1, about={}, endpoint=collector)


def main() -> None:
    observe.configure("error")
    run_async(serve, Path(sys.argv[1]))


if __name__ == "__main__":
    main()
