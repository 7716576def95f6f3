"""The git door under real git: what is cloned and pushed, with whose credential, and what is refused before the host
hears of it."""

import base64
import random
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
import pytest

from control.identity.charter import GitGrant
from tests.access.clients import connected, run, whole
from tests.access.codehost import ALONE, TOKEN, CodeHost, code_host
from tests.access.plane import HOST, Plane, grants, plane
from tests.components import need_program


@pytest.fixture
def host(tmp_path: Path) -> Iterator[CodeHost]:
    need_program("git")
    with code_host(tmp_path) as running:
        for name in ("app", "docs", "secret"):
            running.make(name)
        yield running


NOISE = random.Random(7).randbytes(3 << 20)
"""No packing makes it smaller."""
GRANTS = grants(app="preloop/*", docs=None)


def agent_s(running: Plane, token: str) -> dict[str, str]:
    """git's environment as the entry script makes it."""
    pairs = [
        (f"http.{running.url}/git/.extraHeader", f"Authorization: Bearer {token}"),
        (f"url.{running.url}/git/{HOST}/.insteadOf", f"https://{HOST}/"),
    ]
    env = {f"GIT_CONFIG_{part}_{n}": pair[i] for n, pair in enumerate(pairs) for i, part in enumerate(("KEY", "VALUE"))}
    return ALONE | env | {"GIT_CONFIG_COUNT": str(len(pairs)), "GIT_TERMINAL_PROMPT": "0"}


class Agent:
    """A container's git: a session, a folder, and what the plane wrote down of it."""

    def __init__(self, running: Plane, folder: Path, session_id: str, token: str) -> None:
        self.running, self.folder, self.session_id, self.token = running, folder, session_id, token
        self._env = agent_s(running, token)

    async def git(self, *arguments: str) -> tuple[int, str]:
        """Its exit code and what it said to people."""
        code, out, error = await run("git", *arguments, env=self._env, cwd=self.folder)
        return code, out + error

    async def well(self, *arguments: str) -> str:
        code, said = await self.git(*arguments)
        assert code == 0, said
        return said

    async def clone(self, name: str = "app", *options: str) -> None:
        await self.well("clone", "-q", *options, f"https://{HOST}/owner/{name}", name)

    async def commit(self, name: str = "app", content: str = "more\n") -> str:
        (self.folder / name / "README").write_text(content)
        await self.well("-C", name, "commit", "-q", "-a", "-m", "more")
        return (await self.well("-C", name, "rev-parse", "HEAD")).strip()

    async def told(self, type_: str) -> list[dict[str, Any]]:
        return [data for kind, data in await self.running.told(self.session_id) if kind == type_]


@asynccontextmanager
async def agent(
    tmp_path: Path,
    host: CodeHost,
    given: tuple[GitGrant, ...] = GRANTS,
    *,
    settings: Mapping[str, object] = MappingProxyType({}),
    **changes: object,
) -> AsyncIterator[Agent]:
    folder = tmp_path / "agent"
    folder.mkdir()
    async with plane(tmp_path, hosts={HOST: host.settings(**changes)}, settings=settings) as running:
        session_id, token = await running.session(git=given)
        yield Agent(running, folder, session_id, token)


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


REFS = "info/refs?service=git-upload-pack"
AT = f"/git/{HOST}"
ODD = [
    *(f"{AT}/owner/app.git/../secret.git/{REFS}", f"{AT}/owner/app/../secret/{REFS}"),
    *(f"{AT}/owner/%2e%2e/owner/secret.git/{REFS}", f"{AT}/owner%2Fsecret.git/{REFS}"),
    *(f"{AT}/owner/app.git/%2e%2e/secret.git/{REFS}", f"{AT}/owner/ap%70.git/{REFS}"),
    *(f"{AT}//owner/app.git/{REFS}", f"{AT}/owner//app.git/{REFS}", f"/git//{HOST}/owner/app.git/{REFS}"),
    *(f"{AT}/owner/app.git.git/{REFS}", f"{AT}/owner/app.git/./{REFS}", f"{AT}/owner/app.git//{REFS}"),
    *(f"{AT}/OWNER/app.git/{REFS}", f"{AT}/owner/app.gi/{REFS}", f"{AT}/owner/app2/{REFS}"),
    *(f"/git/other.example/owner/app.git/{REFS}", f"{AT}@127.0.0.1/owner/app.git/{REFS}", f"/git/{REFS}"),
    *(f"{AT}/owner/app.git\\..\\secret.git/{REFS}", f"{AT}/owner/app.git;/{REFS}", "/git/", "/git/%00"),
    *(f"{AT}/owner/app.git/info/refs", f"{AT}/owner/app.git/info/refs?service=git-upload-archive"),
    *(f"{AT}/owner/app.git/HEAD", f"{AT}/owner/app.git/objects/info/packs", f"{AT}/owner/app.git/"),
    *(f"{AT}/owner/app.git/{REFS}&service=git-receive-pack", f"{AT}/owner/app.git/info/refs%3fservice=x"),
    *(f"{AT}/owner/app.git/config", f"{AT}/owner/app.git/info/lfs/objects/batch"),
]


@pytest.mark.parametrize("path", ODD)
async def test_no_spelling_of_a_path_leads_elsewhere(tmp_path: Path, host: CodeHost, path: str) -> None:
    """As it stands: a client of ours would clean it."""
    async with agent(tmp_path, host) as its, connected(its.running.port) as stream:
        lines = [f"GET {path} HTTP/1.1", "Host: preloop", f"Authorization: Bearer {its.token}", "Connection: close"]
        await stream.send("\r\n".join([*lines, "", ""]).encode())
        answer = await whole(stream)
        assert int(answer.split(b" ")[1]) in (403, 422), answer
        assert host.asked == []


async def test_without_a_living_session_there_is_nothing(tmp_path: Path, host: CodeHost) -> None:
    async with agent(tmp_path, host) as its, httpx.AsyncClient(base_url=its.running.url, trust_env=False) as http:
        path = f"/git/{HOST}/owner/app.git/{REFS}"
        await its.running.revoke(its.session_id)
        for headers in ({}, {"authorization": "Bearer guess"}, {"authorization": f"Bearer {its.token}"}):
            assert (await http.get(path, headers=headers)).status_code == 401
        assert host.asked == []


async def test_a_host_that_an_admin_took_away_is_gone(tmp_path: Path, host: CodeHost) -> None:
    async with plane(tmp_path) as running, httpx.AsyncClient(base_url=running.url, trust_env=False) as http:
        _, token = await running.session(git=GRANTS)
        answer = await http.get(f"/git/{HOST}/owner/app.git/{REFS}", headers={"authorization": f"Bearer {token}"})
        assert (answer.status_code, "not set up here" in answer.text) == (403, True)


async def test_a_private_address_is_dialled_for_hosts_that_are_meant_to_have_one(
    tmp_path: Path, host: CodeHost
) -> None:
    url = host.url.replace("http://", "https://")
    async with agent(tmp_path, host, url=url, private=False) as its:
        code, said = await its.git("ls-remote", f"https://{HOST}/owner/app")
        assert code != 0 and "not a public address" in said
        assert host.asked == []


@pytest.mark.parametrize(
    ("status", "headers", "says"),
    [
        (401, {"www-authenticate": "Basic"}, "does not take our credential"),
        (403, {}, "does not let our credential"),
        (404, {}, "no such repository"),
        (301, {"location": "http://127.0.0.1:9/owner/app.git/info/refs"}, "has moved"),
        (500, {}, "status 500"),
        (200, {"content-type": "text/html"}, "does not speak git"),
    ],
)
async def test_what_a_host_says_beside_git_is_not_passed_on(
    tmp_path: Path, host: CodeHost, status: int, headers: dict[str, str], says: str
) -> None:
    host.answers[f"/owner/app.git/{REFS}"] = (status, headers, f"secret {TOKEN}".encode())
    async with agent(tmp_path, host) as its:
        code, said = await its.git("ls-remote", f"https://{HOST}/owner/app")
        assert code != 0 and says in said
        assert TOKEN not in said and "secret" not in said
        assert len(host.asked) == 1  # no redirect was followed


async def test_a_packed_push_is_not_looked_into_and_not_taken(tmp_path: Path, host: CodeHost) -> None:
    async with agent(tmp_path, host) as its, httpx.AsyncClient(base_url=its.running.url, trust_env=False) as http:
        headers = {"authorization": f"Bearer {its.token}", "content-type": "application/x-git-receive-pack-request"}
        path = f"/git/{HOST}/owner/app.git/git-receive-pack"
        packed = await http.post(path, content=b"0000", headers=headers | {"content-encoding": "gzip"})
        assert packed.status_code == 415
        other = await http.post(path, content=b"0000", headers=headers | {"content-type": "text/plain"})
        assert other.status_code == 422
        assert host.asked == []


async def test_an_answer_ends_with_its_session(tmp_path: Path, host: CodeHost) -> None:
    kind = "application/x-git-upload-pack-advertisement"
    host.answers[f"/owner/app.git/{REFS}"] = (200, {"content-type": kind, "stalls": "yes"}, b"begun")
    async with agent(tmp_path, host) as its, connected(its.running.port) as stream:
        lines = [f"GET {AT}/owner/app.git/{REFS} HTTP/1.1", "Host: preloop", f"Authorization: Bearer {its.token}"]
        await stream.send("\r\n".join([*lines, "", ""]).encode())
        answer = b""
        while b"begun" not in answer:
            answer += await stream.receive()
        await its.running.revoke(its.session_id)
        assert not (await whole(stream)).endswith(b"0\r\n\r\n")  # cut, not ended
        [answered] = await its.running.closed(its.session_id, "git.answered")
        assert answered["why"] == "session_ended"


async def test_a_client_that_leaves_ends_its_answer(tmp_path: Path, host: CodeHost) -> None:
    kind = "application/x-git-upload-pack-result"
    path = f"/git/{HOST}/owner/app.git/git-upload-pack"
    host.answers["/owner/app.git/git-upload-pack"] = (200, {"content-type": kind, "stalls": "yes"}, b"begun")
    async with agent(tmp_path, host) as its:
        async with connected(its.running.port) as stream:
            lines = [
                f"POST {path} HTTP/1.1",
                "Host: preloop",
                f"Authorization: Bearer {its.token}",
                "Content-Length: 4",
            ]
            lines += ["Content-Type: application/x-git-upload-pack-request", "", "0000"]
            await stream.send("\r\n".join(lines).encode())
            answer = b""
            while b"begun" not in answer:
                answer += await stream.receive()
        [answered] = await its.running.closed(its.session_id, "git.answered")
        assert answered["why"] == "client_left"


async def test_a_session_s_bytes_are_counted_here_too(tmp_path: Path, host: CodeHost) -> None:
    async with agent(tmp_path, host, settings={"most": "1m"}) as its:
        await its.clone()
        (its.folder / "app" / "big").write_bytes(NOISE)
        await its.well("-C", "app", "add", "big")
        await its.commit()
        code, _ = await its.git("-C", "app", "push", "origin", "HEAD:preloop/big")
        assert code != 0
        assert "refs/heads/preloop/big" not in host.refs("app")
        code, said = await its.git("ls-remote", f"https://{HOST}/owner/app")
        assert code != 0 and "has moved 1048576 bytes" in said
