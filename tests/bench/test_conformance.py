"""The official conformance suite through our endpoint, as `scripts/show conformance` runs it: every score is full."""

import pytest

from bench import show_conformance
from bench.conformance import parts

pytestmark = [pytest.mark.node, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def suite() -> None:
    """The pinned suite and the SDK's fixture server, fetched once by hash."""
    parts.fetch()
    assert not parts.missing()


@pytest.mark.usefixtures("suite")
@pytest.mark.parametrize("name", ["2026-07-28", "2025-11-25", "tasks"])
async def test_the_official_suite_passes_through_us(name: str) -> None:
    [score], approvals = await show_conformance.measure([name])
    assert score, f"{score.passed}/{score.wanted}, failed: {score.failed}\n{score.said}"
    assert approvals or name == "tasks", "a person was asked on the way"
