"""What listens in the namespace of `outside.py`: takes TCP connections and questions to a resolver, says each aloud.

    python outside_server.py ADDRESS PORT...

One line each on standard output: `tcp ADDRESS PORT`, `dns BYTES-AS-HEX`. Says `ready` first.
"""

import asyncio
import sys

ADDRESSES, PORTS = sys.argv[1].split(","), [int(port) for port in sys.argv[2:]]


def say(*words: object) -> None:
    print(*words, flush=True)


async def came(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    say("tcp", *writer.get_extra_info("sockname"))
    writer.close()


class Resolver(asyncio.DatagramProtocol):
    def datagram_received(self, data: bytes, _addr: object) -> None:
        say("dns", data.hex())


async def main() -> None:
    loop = asyncio.get_running_loop()
    for address in ADDRESSES:
        for port in PORTS:
            await asyncio.start_server(came, address, port)
        await loop.create_datagram_endpoint(Resolver, (address, 53))
    say("ready")
    await asyncio.Event().wait()


asyncio.run(main())
