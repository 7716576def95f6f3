"""A plane that several tests of one file may share, where none of them changes what the others see."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runner import images
from tests.journeys.plane import Plane, plane


@pytest.fixture(scope="session")
async def agent_images(anyio_backend: str) -> None:
    """The images of the agents that journeys start; unchanged inputs build nothing."""
    for name in ("scripted", "codex"):
        await images.build(name)


@pytest.fixture(scope="module")
async def shared_plane(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Plane]:
    folder: Path = tmp_path_factory.mktemp("plane")
    async with plane(folder) as (running, _):
        yield running
