"""The git door between a container and a host: no spelling leads elsewhere, no word of a host's is passed on, and what
is under way ends with its session."""

from pathlib import Path

import httpx
import pytest

from tests.access.agent import GRANTS, NOISE, agent
from tests.access.clients import connected, whole
from tests.access.codehost import TOKEN, CodeHost
from tests.access.plane import HOST, plane

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
