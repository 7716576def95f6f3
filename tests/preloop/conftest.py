from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.preloop.terminal import Desk, open_desk


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """The people's door on a port, and terminals before it."""
    async with open_desk(tmp_path) as opened:
        yield opened


@pytest.fixture(scope="module")
async def quiet_desk(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    """One for a whole file of tests that change nothing."""
    async with open_desk(tmp_path_factory.mktemp("desk")) as opened:
        yield opened
