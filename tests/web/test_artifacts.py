"""What an agent left, for people: a list, downloads that no browser opens, and the diff on the run's page."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from control.executions import results
from control.executions.results import Artifact
from control.identity.principals import Role
from tests.serving import serving
from tests.web.world import World, open_world

PAGE = b"<!doctype html><script>alert(document.cookie)</script>"
DIFF = b"--- a/notes\n+++ b/notes\n@@ -1 +1 @@\n-one\n+<script>alert(1)</script> \xe2\x80\xaetxt\n"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path) as opened:
        yield opened


async def left(world: World, files: dict[str, bytes]) -> str:
    """An execution that left these."""
    id_ = await world.house.start()
    found = []
    for name, content in files.items():
        sha256 = hashlib.sha256(content).hexdigest()
        await world.house.blobs.put(results.file_of(id_, sha256), content)
        found.append(Artifact(name=name, size=len(content), sha256=sha256))
    row = await world.house.row(id_)
    await world.house.db.write(lambda tx: results.add(tx, row, found))
    return id_


async def asked(world: World, path: str, role: Role | None = Role.VIEWER) -> httpx.Response:
    headers = {"authorization": f"Bearer {await world.token(role, 'api')}"} if role else {}
    async with serving(world.app) as url, httpx.AsyncClient(base_url=url, trust_env=False) as http:
        return await http.get(path, headers=headers)


async def test_the_list_says_what_there_is_and_where(world: World) -> None:
    id_ = await left(world, {"artifacts/a b/report.html": PAGE, "changes.patch": DIFF})
    answer = (await asked(world, f"/api/v1/executions/{id_}/artifacts")).json()
    assert [(one["name"], one["size"], one["sha256"]) for one in answer["items"]] == [
        ("artifacts/a b/report.html", len(PAGE), hashlib.sha256(PAGE).hexdigest()),
        ("changes.patch", len(DIFF), hashlib.sha256(DIFF).hexdigest()),
    ]
    assert answer["next"] is None
    file = await asked(world, answer["items"][0]["url"])
    assert file.content == PAGE


async def test_a_download_is_an_attachment_of_no_type_in_a_sandbox(world: World) -> None:
    id_ = await left(world, {'artifacts/"quoted"; żółć.html': PAGE})
    answer = await asked(world, (await asked(world, f"/api/v1/executions/{id_}/artifacts")).json()["items"][0]["url"])
    assert (answer.status_code, answer.content) == (200, PAGE)
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment;")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]
    assert '"quoted"' not in answer.headers["content-disposition"]


async def test_nobody_else_gets_it_and_no_name_leads_elsewhere(world: World) -> None:
    id_ = await left(world, {"artifacts/a": b"mine"})
    other = await left(world, {"artifacts/b": b"other"})
    assert (await asked(world, f"/api/v1/executions/{id_}/artifacts/artifacts/a", None)).status_code == 401
    assert (await asked(world, f"/api/v1/executions/{id_}/artifacts", None)).status_code == 401
    for name in (
        "artifacts/b",
        "../a",
        "artifacts/..%2f..%2fpreloop.db",
        f"..%2f{other}%2fartifacts/b",
        "a" * 900,
    ):
        answer = await asked(world, f"/api/v1/executions/{id_}/artifacts/{name}")
        assert answer.status_code == 404, name


async def test_bytes_that_are_elsewhere_are_missing_and_not_an_error(world: World) -> None:
    id_ = await left(world, {"artifacts/a": b"mine"})
    await world.house.blobs.clear(results.folder_of(id_))
    answer = await asked(world, f"/api/v1/executions/{id_}/artifacts/artifacts/a")
    assert (answer.status_code, answer.json()["code"]) == (404, "artifact_gone")


async def test_the_page_of_the_run_has_the_files_and_the_diff_as_text(world: World) -> None:
    id_ = await left(world, {"artifacts/<b>.html": PAGE, "changes.patch": DIFF})
    page = (await asked(world, f"/executions/{id_}")).text
    assert "artifacts/&lt;b&gt;.html" in page
    assert "+&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert" not in page
    assert "\u202e" not in page
    nothing = (await asked(world, f"/executions/{await left(world, {})}")).text
    assert 'id="results"' not in nothing


async def test_a_long_diff_is_cut_on_the_page(world: World) -> None:
    id_ = await left(world, {"changes.patch": b"+" + b"x" * 200_000})
    page = (await asked(world, f"/executions/{id_}")).text
    assert page.count("x" * 100) < 1100
    assert "has all of it" in page
