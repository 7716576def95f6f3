"""The model gateway in a process of its own, as a role of several will have it: containers' listener alone, on a
database that is there already.

    python -m bench.gateway_role FOLDER     (settings in FOLDER/gateway.json; see `bench/gateway_house`)

Says where it listens and goes on until SIGTERM.
"""

import signal
import sys
from pathlib import Path

import anyio

from control.identity.doorkeeper import Doorkeeper, Listener
from gateway.opening import open_gateway
from gateway.settings import GatewaySettings
from kit import asgi, observe
from kit.bus import Bus
from preloop.cli import run_async
from preloop.database import open_database
from preloop.listen import Served, bind, listening, port_of, spare_collector


async def serve(folder: Path) -> None:
    settings = GatewaySettings.model_validate_json(await anyio.Path(folder / "gateway.json").read_bytes())
    bus = Bus()
    db = await open_database(folder, None, bus)
    socket = bind("127.0.0.1", 0)
    with anyio.open_signal_receiver(signal.SIGTERM) as signals:
        async with open_gateway(db=db, bus=bus, settings=settings, folder=folder / "journal") as gateway:
            app = gateway.app(Doorkeeper(db, bus, Listener.CONTAINERS))
            served = Served(app=asgi.Faults(asgi.Hosts(app, allowed=["127.0.0.1"])), sockets=[socket])
            async with listening(served):
                spare_collector()
                print(f"listens on http://127.0.0.1:{port_of(socket)}", flush=True)
                async for _ in signals:
                    break
    await db.close()


def main() -> None:
    observe.configure("error")
    run_async(serve, Path(sys.argv[1]))


if __name__ == "__main__":
    main()
