"""The git door under real git: what is cloned and pushed, with whose credential, and what is refused before the host
hears of it."""

import base64
from pathlib import Path

import pytest

from tests.access.agent import NOISE, agent
from tests.access.codehost import TOKEN, CodeHost
from tests.access.plane import HOST


async def test_a_listed_repository_is_cloned_with_a_credential_the_agent_never_sees(
    tmp_path: Path, host: CodeHost
) -> None:
    async with agent(tmp_path, host) as its:
        await its.clone("docs")
        assert (its.folder / "docs" / "README").read_text() == "docs\n"
        carried = {headers.get("authorization") for _, _, headers in host.asked}
        assert carried == {"Basic " + base64.b64encode(f"x-access-token:{TOKEN}".encode()).decode()}
        assert not any(its.token in str(headers) for _, _, headers in host.asked)
        kept = "".join(
            path.read_text("latin-1") for path in (its.folder / "docs" / ".git").rglob("*") if path.is_file()
        )
        assert TOKEN not in kept and its.token not in kept
        answered = await its.told("git.answered")
        assert [(one["service"], one["refs"], one["why"]) for one in answered][:2] == [
            ("git-upload-pack", True, "over"),
            ("git-upload-pack", False, "over"),
        ]
        assert all((one["host"], one["repo"]) == (HOST, "owner/docs") for one in answered)


@pytest.mark.parametrize("version", ["0", "1", "2"])
async def test_every_version_of_the_protocol_fetches(tmp_path: Path, host: CodeHost, version: str) -> None:
    async with agent(tmp_path, host) as its:
        await its.well("-c", f"protocol.version={version}", "clone", "-q", f"https://{HOST}/owner/app.git", "app")
        assert (its.folder / "app" / "README").read_text() == "app\n"


async def test_a_push_to_a_listed_branch_arrives_and_is_written_down_before_it_is_sent(
    tmp_path: Path, host: CodeHost
) -> None:
    async with agent(tmp_path, host) as its:
        await its.clone()
        new = await its.commit()
        await its.well("-C", "app", "push", "-q", "origin", "HEAD:preloop/fix-1")
        assert host.refs("app")["refs/heads/preloop/fix-1"] == new
        [pushing] = await its.told("git.pushing")
        assert pushing["refs"] == [{"ref": "refs/heads/preloop/fix-1", "old": "0" * 40, "new": new}]
        await its.running.closed(its.session_id, "git.answered", count=5)  # three of the clone, two of the push
        kinds = [kind for kind, _ in await its.running.told(its.session_id)]
        assert kinds[-2:] == ["git.pushing", "git.answered"]


async def test_a_big_push_out_of_a_shallow_clone_arrives(tmp_path: Path, host: CodeHost) -> None:
    """Above git's post buffer it asks first whether it may, then sends in chunks."""
    async with agent(tmp_path, host) as its:
        await its.clone("app", "--depth", "1")
        (its.folder / "app" / "big").write_bytes(NOISE)
        await its.well("-C", "app", "add", "big")
        new = await its.commit()
        await its.well("-C", "app", "-c", "http.postBuffer=65536", "push", "-q", "origin", "HEAD:preloop/big")
        assert host.refs("app")["refs/heads/preloop/big"] == new
        assert any(headers.get("transfer-encoding") == "chunked" for _, _, headers in host.asked)


@pytest.mark.parametrize(
    "refspec",
    [
        *("HEAD:main", "HEAD:refs/heads/main", "+HEAD:main", "HEAD:preloop", "HEAD:xpreloop/a", "HEAD:refs/tags/v1"),
        *("HEAD:refs/notes/preloop/a", "HEAD:refs/preloop/a", "HEAD:refs/heads/refs/heads/preloop/a"),
    ],
)
async def test_a_push_elsewhere_is_refused_and_the_host_never_hears_of_it(
    tmp_path: Path, host: CodeHost, refspec: str
) -> None:
    async with agent(tmp_path, host) as its:
        await its.clone()
        await its.commit()
        before = host.refs("app")
        host.asked.clear()
        code, said = await its.git("-C", "app", "push", "origin", refspec)
        assert code != 0
        assert "preloop: This flow pushes to branches preloop/* of owner/app, not to refs/" in said
        assert host.refs("app") == before
        assert [(method, path) for method, path, _ in host.asked] == [
            ("GET", "/owner/app.git/info/refs?service=git-receive-pack")
        ]
        [refused] = await its.told("git.refused")
        assert refused["code"] == "git_ref_not_listed"
        assert await its.told("git.pushing") == []


async def test_one_bad_ref_among_good_ones_refuses_the_whole_push(tmp_path: Path, host: CodeHost) -> None:
    async with agent(tmp_path, host) as its:
        await its.clone()
        await its.commit()
        before = host.refs("app")
        code, _ = await its.git("-C", "app", "push", "origin", "HEAD:preloop/a", "HEAD:main", "HEAD:preloop/b")
        assert code != 0
        assert host.refs("app") == before


async def test_a_branch_is_not_deleted(tmp_path: Path, host: CodeHost) -> None:
    async with agent(tmp_path, host) as its:
        await its.clone()
        await its.well("-C", "app", "push", "-q", "origin", "HEAD:preloop/a")
        code, said = await its.git("-C", "app", "push", "origin", ":preloop/a")
        assert code != 0 and "would be deleted" in said
        assert "refs/heads/preloop/a" in host.refs("app")


async def test_options_that_make_a_host_do_more_are_refused(tmp_path: Path, host: CodeHost) -> None:
    async with agent(tmp_path, host) as its:
        await its.clone()
        code, said = await its.git("-C", "app", "push", "-o", "merge_request.create", "origin", "HEAD:preloop/a")
        assert code != 0 and "push-options" in said
        assert "refs/heads/preloop/a" not in host.refs("app")


async def test_a_repository_without_a_push_branch_is_only_read(tmp_path: Path, host: CodeHost) -> None:
    async with agent(tmp_path, host) as its:
        await its.clone("docs")
        host.asked.clear()
        code, said = await its.git("-C", "docs", "push", "origin", "HEAD:preloop/a")
        assert code != 0 and "This flow only reads owner/docs" in said
        assert host.asked == []


async def test_another_repository_of_the_same_owner_is_not_there(tmp_path: Path, host: CodeHost) -> None:
    async with agent(tmp_path, host) as its:
        code, said = await its.git("clone", f"https://{HOST}/owner/secret", "secret")
        assert code != 0 and "does not list the repository" in said
        assert host.asked == []
        [refused] = await its.told("git.refused")
        assert refused["code"] == "git_not_listed"
