"""Many streams at once, and clients that stop reading: what they wait, and what they hold."""

import asyncio
import functools
import itertools
import json
import socket
import statistics
import time
from contextlib import ExitStack
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import uvloop

from bench import gateway_house, paced_server, processes
from bench.figures import Within, say
from bench.gateway_house import PRICES
from bench.model_answers import ask
from bench.model_gateways import CHAT, KEY, WORTH_NANO

STREAMS, STALLED = 500, 20
SPREAD_S = 1.0
"""Over which the streams begin."""
STALLED_S = 3.0
"""When whatever a stalled client may hold is full."""


def hold(folder: Path, at_most: Within, *, short: bool) -> None:
    with ExitStack() as stack:
        command = [processes.PYTHON, "-m", "bench.paced_server"]
        upstream = processes.told(stack.enter_context(processes.running(command)), r"http://\S+")
        place = {"provider": "openai", "model": "gpt-bench", "api_key": KEY, **PRICES}
        models = {name: {**place, "base_url": f"{upstream}/{name}"} for name in ("paced", "flood")}
        token = gateway_house.prepare(folder / "streams", {"models": models}, budget_nano=WORTH_NANO)
        ours = stack.enter_context(gateway_house.serving(folder / "streams"))
        direct, added = [], []
        for _ in range(1 if short else 3):
            direct.append(uvloop.run(_gaps(f"{upstream}/paced/chat/completions", "")))
            added.append(uvloop.run(_gaps(f"{ours.origin}/openai{CHAT}", token)) - direct[-1])
        say("streams_p99_gap_ms_direct", f"{statistics.median(direct):.1f} (beyond the upstream's 50)")
        at_most("streams_p99_added_gap_ms", statistics.median(added), 250)
        say("streams_memory_mb", f"{processes.rss_mb(ours.pid):.0f} after {STREAMS} at once")
        at_most("stalled_client_mb", _stalled(ours, token), 1)


async def _gaps(url: str, token: str) -> float:
    """The 99th percentile of what the gap before an event is longer than the upstream's, over all streams, in ms."""
    parts, request = urlsplit(url), _request(url, token, "paced")
    loop = asyncio.get_running_loop()
    readers = [_Reader(request) for _ in range(STREAMS)]
    for reader in readers:
        await loop.create_connection(functools.partial(_itself, reader), parts.hostname or "", parts.port or 80)
        await asyncio.sleep(SPREAD_S / STREAMS)
    async with asyncio.timeout(60):
        await asyncio.gather(*(reader.ended for reader in readers))
    gaps = [later - earlier for reader in readers for earlier, later in itertools.pairwise(reader.came)]
    return (statistics.quantiles(gaps, n=100)[98] - paced_server.EVENT_S) * 1000


def _itself(reader: "_Reader") -> "_Reader":
    return reader


class _Reader(asyncio.Protocol):
    """One stream: when each of its events came."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._tail = b""
        self.came: list[float] = []
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self.came += [time.monotonic()] * data.count(b'"a token ')
        self._tail = (self._tail + data)[-64:]
        if b"[DONE]" in self._tail:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if len(self.came) == paced_server.EVENTS:
            self.ended.set_result(None)
        else:
            self.ended.set_exception(RuntimeError(f"{len(self.came)} events of {paced_server.EVENTS} came: {error}"))


def _stalled(ours: gateway_house.Serving, token: str) -> float:
    """Megabytes that one client holds which asked for much and reads nothing."""
    with ExitStack() as stack:
        before, parts = processes.rss_mb(ours.pid), urlsplit(ours.origin)
        for _ in range(STALLED):
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
            client.connect((parts.hostname, parts.port))
            client.sendall(_request(f"{ours.origin}/openai{CHAT}", token, "flood"))
        time.sleep(STALLED_S)
        return (processes.rss_mb(ours.pid) - before) / STALLED


def _request(url: str, token: str, model: str) -> bytes:
    body = json.dumps(ask(model, stream=True)).encode()
    parts = urlsplit(url)
    head = f"POST {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\nauthorization: Bearer {token}\r\n"
    return f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body
