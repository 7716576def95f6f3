"""What the Docker tests share: the image, an instance of their own, an engine that is left clean."""

import secrets
from collections.abc import AsyncIterator

import anyio
import pytest

from runner.docker import DockerEngine
from tests.runner.box import make_box


@pytest.fixture(scope="session")
def box() -> str:
    return make_box()


@pytest.fixture
def instance() -> str:
    return f"test-{secrets.token_hex(4)}"


@pytest.fixture
async def engine(box: str, instance: str) -> AsyncIterator[DockerEngine]:
    """Whatever a test started ends with it."""
    async with DockerEngine() as engine:
        yield engine
        with anyio.fail_after(60):
            for found in await engine.jobs(instance):
                await engine.remove(found.name)
            assert await engine.jobs(instance) == ()
