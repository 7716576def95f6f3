"""A plane that several tests of one file may share, where none of them changes what the others see."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runner import clis, images
from tests.journeys.plane import Plane, plane


@pytest.fixture(scope="session")
async def agent_images(anyio_backend: str) -> None:
    """The scripted agent's; unchanged inputs build nothing."""
    await images.build("scripted")


@pytest.fixture(scope="session")
async def cli_images(anyio_backend: str) -> None:
    """Those of the agent CLIs, and one that a command runs in."""
    for name in (*clis.PROGRAMS, "scripted"):
        await images.build(name)


@pytest.fixture(scope="module")
async def shared_plane(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Plane]:
    folder: Path = tmp_path_factory.mktemp("plane")
    async with plane(folder) as (running, _):
        yield running
