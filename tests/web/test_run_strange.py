"""Characters that can't be seen or that mislead, wherever a stranger writes: pages name them and hold none of them."""

import pytest

from tests.browser.scene import Scene, set_scene
from tests.browser.spoil import spoil
from tests.web.test_run import read
from tests.web.world import World

STRANGE = "\u202e\x1b\u200b\u2066"


@pytest.fixture
async def scene(world: World) -> Scene:
    return await set_scene(world)


@pytest.mark.parametrize("char", STRANGE)
async def test_pages_of_runs_name_what_misleads_and_hold_none_of_it(world: World, scene: Scene, char: str) -> None:
    await spoil(world, scene, f"over{char}here")
    for path in ["/executions", *(f"/executions/{run}" for run in scene.runs.values())]:
        html = await read(world, path)
        at = html.find(char)
        assert at < 0, html[max(0, at - 300) : at + 40]
        assert f"U+{ord(char):04X}" in html


@pytest.mark.parametrize(
    "told", ["Suggestion:", 'class="message"', "Failed tool:", "Broke in stage:", 'class="quote small"']
)
async def test_the_error_of_a_run_says_each_of_its_parts(world: World, scene: Scene, told: str) -> None:
    """So that the test above looks at them."""
    await spoil(world, scene, "over\u202ehere")
    html = await read(world, f"/executions/{scene.runs['FAILED']}")
    part = html[html.index(told) :]
    assert "U+202E" in part[: part.index("</p>")]
