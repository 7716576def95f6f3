from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.web.world import World, open_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """The people's door, with one flow and two approvers."""
    async with open_world(tmp_path) as opened:
        yield opened
