"""Fixtures every room shares: the event loop, a throwaway PostgreSQL, a browser. Components: `tests/components.py`."""

import gc
import os
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Literal

import pytest
import structlog
from playwright.async_api import Browser, async_playwright, expect

from kit.objects import Address
from tests import databases
from tests.components import COMPONENTS, chromium, need, postgres_programs
from tests.postgres import Cluster, cluster
from tests.s3 import make_bucket, s3
from tests.waiting import PAGE_MS

LONG = ("journeys", "bench", "runner")
"""Rooms whose files take minutes with few tests: begun last, one of them would run alone at the end."""
LATER, LAST = ("browser",), ("web", "ledger", "kit", "house")
"""Chromium breaks off what it loads when a network of this machine comes or goes, as each agent's in a container does:
it is begun long after the rooms with containers, and before those that fill the end."""
TESTS = Path(__file__).parent
STORM = TESTS / "bench" / "test_chaos.py"
"""It takes both cores, so it is not begun together with agents that wait on a clock."""
PLANES = ("access", "bench", "browser", "control", "gateway", "journeys", "mcp_server", "preloop", "runner", "web")
"""Rooms with a plane, which is on SQLite unless the run is for PostgreSQL. Tests that name their database stay out."""
ON_POSTGRES = os.environ.get("TEST_DATABASE") == "postgresql"
os.environ.pop("PYTHONUNBUFFERED", None)  # what a plane says is read from pipes here, and is to be there in time
FIXTURES = {
    "postgres_cluster": "postgres",
    "postgres_own": "postgres",
    "browser": "browser",
}  # a fixture that implies its marker

CHROMIUM_FLAGS = [
    "--no-sandbox",  # CI is root; the only pages shown are our own
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def pytest_configure() -> None:
    """Tracebacks in a test's log are plain: no values, and a tenth of a second less for each."""
    plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    gc.disable()  # until all is collected
    structlog.configure(processors=[*structlog.get_config()["processors"][:-1], plain])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what a fixture needs; long files first, browsers apart from containers, each file in its own order."""
    if ON_POSTGRES:
        items[:] = [item for item in items if _works_on_what_it_is_given(item)]
    for item in items:
        for fixture in getattr(item, "fixturenames", ()):
            if fixture in FIXTURES:
                item.add_marker(FIXTURES[fixture])
    slow = {item.path for item in items if item.get_closest_marker("slow")} - {STORM}
    turns = dict.fromkeys(LONG, 0) | dict.fromkeys(LATER, 2) | dict.fromkeys(LAST, 3)
    items.sort(key=lambda item: (item.path not in slow, turns.get(item.path.parent.name, 1)))


def _works_on_what_it_is_given(item: pytest.Item) -> bool:
    named = getattr(getattr(item, "callspec", None), "id", "").split("-")
    chosen = bool({"sqlite", "postgres", "postgresql"} & {*named}) or item.get_closest_marker("sqlite") is not None
    return item.path.relative_to(TESTS).parts[0] in PLANES and not chosen


def pytest_collection_finish() -> None:
    """Six thousand collected tests live until the end: the garbage collector need not walk them again and again."""
    gc.freeze()
    gc.enable()


def pytest_runtest_setup(item: pytest.Item) -> None:
    for name in sorted({mark.name for mark in item.iter_markers()} & COMPONENTS.keys()):
        need(name)


@pytest.fixture(scope="session")
def anyio_backend() -> Literal["asyncio"]:
    return "asyncio"


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[Cluster]:
    need("postgres")
    programs = postgres_programs()
    assert programs
    with cluster(programs) as running:
        yield running


@pytest.fixture
def postgres_own() -> Iterator[Cluster]:
    """A server that its test may stop."""
    need("postgres")
    programs = postgres_programs()
    assert programs
    with cluster(programs) as running:
        yield running


@pytest.fixture(scope="session", autouse=True)
def whole_run(request: pytest.FixtureRequest) -> None:
    """TEST_DATABASE=postgresql: every plane of the run has its database there, whatever its test says."""
    if ON_POSTGRES:
        databases.whole_run_on(request.getfixturevalue("postgres_cluster"))


@pytest.fixture(scope="module", autouse=True)
def databases_of_a_file() -> Iterator[None]:
    yield
    databases.drop()


@pytest.fixture(scope="session")
def postgres_url(postgres_cluster: Cluster) -> str:
    """One database for the whole run: a test that writes to it names its own rows, or takes `postgres_database`."""
    return postgres_cluster.make_database("preloop")


@pytest.fixture
def postgres_database(postgres_cluster: Cluster) -> str:
    """An empty database for this test alone."""
    return postgres_cluster.make_database(f"test_{uuid.uuid4().hex[:12]}")


@pytest.fixture
def postgres_tables(postgres_cluster: Cluster) -> str:
    """A database with our tables and no rows, for this test alone."""
    return postgres_cluster.make_database(f"test_{uuid.uuid4().hex[:12]}", like=postgres_cluster.newest)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of a server of S3's API, a process of its own."""
    with s3() as address:
        yield address


@pytest.fixture
def bucket(s3_server: str) -> Address:
    """An empty bucket for this test alone."""
    return make_bucket(s3_server)


@pytest.fixture(scope="session")
async def browser(anyio_backend: str) -> AsyncIterator[Browser]:
    """Debian's Chromium through Playwright's async API; open a context of your own for each test."""
    need("browser")
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=chromium(), args=CHROMIUM_FLAGS)
        expect.set_options(timeout=PAGE_MS)  # 5 s else, which a busy machine may take for one page
        yield running
        await running.close()
