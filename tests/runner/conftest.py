"""What tests of the runner share: an image, an engine that is left clean, the entry script's shells and a door."""

import os
import secrets
from collections.abc import AsyncIterator, Iterator

import anyio
import pytest

from runner.docker import DockerEngine
from tests.components import need_program
from tests.runner.box import make_box
from tests.runner.doors import TokenDoor, token_door

SHELLS = {"sh": ["sh"], "bash": ["bash", "--posix"], "busybox": ["busybox", "sh"]}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """No machine of ours has a cluster: what needs one is asked for by naming it."""
    if "PRELOOP_TEST_KUBECONFIG" not in os.environ:
        left_out = [item for item in items if item.get_closest_marker("kubernetes")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


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


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> list[str]:
    command = SHELLS[request.param]
    need_program(command[0])
    return command


@pytest.fixture
def door() -> Iterator[TokenDoor]:
    with token_door() as door:
        yield door
