"""The payments server as a process, and a plane in front of it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from mcp_server.settings import UpstreamServer
from tests.mcp_server.plane import Payments, Plane, payments_server, plane


@pytest.fixture(scope="session")
def payments_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Payments]:
    with payments_server(tmp_path_factory.mktemp("payments")) as running:
        yield running


@pytest.fixture
def payments(payments_process: Payments) -> Payments:
    """The server with an empty journal."""
    payments_process.journal.unlink(missing_ok=True)
    return payments_process


@pytest.fixture
async def house(tmp_path: Path, payments: Payments) -> AsyncIterator[Plane]:
    """A plane whose one tool server is `payments`."""
    async with plane(tmp_path, payments=UpstreamServer.model_validate({"url": payments.url})) as up:
        yield up
