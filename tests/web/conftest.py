from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.serving import serving
from tests.web.ears import Door
from tests.web.world import World, open_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """The people's door, with one flow and two approvers."""
    async with open_world(tmp_path) as opened:
        yield opened


@pytest.fixture
async def door(world: World) -> AsyncIterator[Door]:
    async with serving(world.app) as url:
        yield Door(world=world, url=url)
