"""An object store behind the folder: what goes there, what stays while it is down, and what is said then."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path

import anyio
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from kit.blobs import Blobs, Store
from kit.errors import Unavailable
from kit.objects import PART, Address, Objects
from tests.access.clients import certificate
from tests.s3 import address
from tests.serving import serving

LARGE = os.urandom(2 * PART + 4321)
"""Three parts."""


@pytest.fixture
def far(bucket: Address) -> Objects:
    return Objects(bucket)


@pytest.fixture
def blobs(tmp_path: Path, far: Objects) -> Blobs:
    return Blobs(tmp_path / "blobs", far, far_from=10)


async def all_of(store: Store | None, folder: str) -> list[str]:
    assert store
    return sorted([name async for names in store.names(folder) for name in names])


def files(blobs: Blobs) -> list[str]:
    return sorted(str(path.relative_to(blobs.root)) for path in blobs.root.rglob("*") if path.is_file())


async def test_what_is_large_is_in_the_store_alone_and_what_is_small_in_the_folder(blobs: Blobs) -> None:
    assert await blobs.put("results/exe_1/ab", b"x" * 10) == 10
    assert await blobs.put("results/exe_1/cd", b"x" * 9) == 9
    assert (files(blobs), await all_of(blobs.far, "results")) == (["results/exe_1/cd"], ["results/exe_1/ab"])
    assert [await blobs.get(f"results/exe_1/{name}") for name in ("ab", "cd", "ef")] == [b"x" * 10, b"x" * 9, None]


async def test_a_draft_that_came_in_pieces_is_sent_in_parts_and_read_in_pieces(blobs: Blobs) -> None:
    for at in range(0, len(LARGE), 1 << 20):
        await blobs.append("results/exe_1/1.new", LARGE[at : at + (1 << 20)])
    assert await all_of(blobs.far, "results") == []
    await blobs.move("results/exe_1/1.new", "results/exe_1/ab")
    assert files(blobs) == []
    found = await blobs.open("results/exe_1/ab")
    assert found
    pieces = [piece async for piece in found.pieces]
    assert (found.size, b"".join(pieces)) == (len(LARGE), LARGE)
    assert max(map(len, pieces)) < len(LARGE) // 4


async def test_the_prefix_is_the_planes_own(far: Objects, bucket: Address) -> None:
    other = Objects(Address(**{name: getattr(bucket, name) for name in Address.__slots__} | {"prefix": "elsewhere"}))
    await far.take("logs/exe_1.txt", b"mine")
    await other.take("logs/exe_1.txt", b"another's")
    await far.delete(["logs/exe_1.txt", "logs/never.txt"])
    assert (await all_of(far, "logs"), await all_of(other, "logs")) == ([], ["logs/exe_1.txt"])


async def test_a_folder_is_cleared_in_both_places_and_its_namesake_stays(blobs: Blobs) -> None:
    for name in ("exe_1/ab", "exe_1/cd", "exe_12/ab"):
        await blobs.put(f"results/{name}", b"x" * 50)
        await blobs.put(f"results/{name}s", b"small")
    await blobs.clear("results/exe_1")
    assert (files(blobs), await all_of(blobs.far, "results")) == (["results/exe_12/abs"], ["results/exe_12/ab"])
    await blobs.delete("results/exe_12/ab")
    await blobs.delete("results/exe_12/abs")
    assert (files(blobs), await all_of(blobs.far, "results")) == ([], [])


async def test_many_are_listed_page_by_page_and_deleted_at_once(far: Objects, blobs: Blobs) -> None:
    async with anyio.create_task_group() as tasks:
        for number in range(1100):
            tasks.start_soon(far.take, f"logs/exe_1/{number}-1", b"[]")
    assert max([len(names) async for names in far.names("logs")]) < 1100
    assert len(await all_of(far, "logs")) == 1100
    await blobs.clear("logs/exe_1")
    assert await all_of(far, "logs") == []


async def test_one_that_was_put_anew_while_it_was_sent_stays(tmp_path: Path, far: Objects) -> None:
    blobs = Blobs(tmp_path / "blobs", None)
    await blobs.put("logs/exe_1.txt", b"first")

    class Meanwhile:
        """The store, before which another file is put in the place of the one that it takes."""

        def __getattr__(self, name: str) -> object:
            return getattr(far, name)

        async def take(self, name: str, content: object) -> None:
            await Blobs(blobs.root).put(name, b"second")
            await far.take(name, content)  # type: ignore[arg-type]

    blobs.far = Meanwhile()  # type: ignore[assignment]
    await blobs.ship("logs/exe_1.txt")
    assert await blobs.get("logs/exe_1.txt") == b"second"
    blobs.far = far
    await blobs.ship("logs/exe_1.txt")
    assert (files(blobs), await blobs.get("logs/exe_1.txt")) == ([], b"second")


async def test_doctor_s_try_leaves_nothing(far: Objects) -> None:
    await far.tried()
    assert await all_of(far, "doctor") == []


async def test_a_store_with_a_certificate_of_ones_own_is_trusted_by_ssl_cert_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = certificate(tmp_path, "localhost")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await says(403, "AccessDenied")(Request(scope, receive))
        await PlainTextResponse("", 403, {"connection": "close"})(scope, receive, send)

    async with serving(app, tls=path, grace_s=0.1) as url:
        with pytest.raises(Unavailable, match="out of reach"):
            await Objects(address(url)).take("logs/exe_1.txt", b"x")
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
        with pytest.raises(Unavailable, match="refuses our key"):
            await Objects(address(url)).take("logs/exe_1.txt", b"x")


# a store that is down, slow, or refuses -------------------------------------------------------------------------------

Answer = Callable[[Request], Awaitable[Response]]
XML = "<?xml version='1.0' encoding='UTF-8'?><Error><Code>{}</Code><Message>AKIATEST is shown</Message></Error>"


async def silent(request: Request) -> Response:
    await anyio.sleep_forever()
    raise AssertionError


def says(status: int, code: str) -> Answer:
    async def answer(request: Request) -> Response:
        await request.body()
        return PlainTextResponse(XML.format(code), status, media_type="application/xml")

    return answer


async def nonsense(request: Request) -> Response:
    await request.body()
    return PlainTextResponse("<html>a proxy's page", 200)


@asynccontextmanager
async def store_that(answer: Answer) -> AsyncIterator[Objects]:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        response = await answer(Request(scope, receive))
        await response(scope, receive, send)

    async with serving(app, grace_s=0.1) as url:
        yield Objects(address(url), answer_s=0.3, read_s=0.3)


BAD = {
    "refuses our key": says(403, "SignatureDoesNotMatch"),
    "has no such bucket": says(404, "NoSuchBucket"),
    "answers with status 500": says(500, "InternalError"),
}


@pytest.mark.parametrize("said", BAD)
async def test_every_bad_answer_is_told_in_words_of_ours(said: str) -> None:
    async with store_that(BAD[said]) as far:
        for ask in (
            lambda: far.take("logs/exe_1.txt", b"x"),
            lambda: far.take("logs/exe_1.txt", BytesIO(LARGE)),
            lambda: far.open("logs/exe_1.txt"),
            lambda: far.delete(["logs/exe_1.txt"]),
            lambda: all_of(far, "logs"),
            far.tried,
        ):
            with pytest.raises(Unavailable) as told:
                await ask()
            assert (told.value.code, told.value.message) == ("storage_unavailable", f"The object store {said}.")
            assert "AKIATEST" not in f"{told.value.message} {told.value.hint}"


@pytest.mark.parametrize("answer", [silent, says(503, "SlowDown"), nonsense])
async def test_one_that_says_nothing_is_not_waited_for(answer: Answer) -> None:
    async with store_that(answer) as far:
        with anyio.fail_after(30):
            with pytest.raises(Unavailable):
                await all_of(far, "logs")
            if answer is not nonsense:
                with pytest.raises(Unavailable):
                    await far.open("logs/exe_1.txt")
                with pytest.raises(Unavailable):
                    await far.take("logs/exe_1.txt", b"x")
            with pytest.raises(Unavailable):
                await far.tried()


async def test_a_content_that_breaks_off_is_no_content() -> None:
    async def cut(request: Request) -> Response:
        headers = {"last-modified": "Sun, 22 Nov 2026 10:00:00 GMT", "etag": '"1"', "content-length": "100"}
        return Response(b"x" * 100, headers=headers)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        response = await cut(Request(scope, receive))
        await send({"type": "http.response.start", "status": 200, "headers": response.raw_headers})
        await send({"type": "http.response.body", "body": b"x" * 40, "more_body": True})
        await anyio.sleep_forever()

    async with serving(app, grace_s=0.1) as url:
        far = Objects(address(url), answer_s=0.3, read_s=0.3)
        found = await far.open("logs/exe_1.txt")
        assert found and found.size == 100
        with anyio.fail_after(30), pytest.raises(Unavailable):
            _ = [piece async for piece in found.pieces]


async def test_what_is_written_while_the_store_is_down_is_kept_read_and_sent_later(
    tmp_path: Path, far: Objects
) -> None:
    asked: list[str] = []

    async def down(request: Request) -> Response:
        asked.append(request.url.path)
        return await says(403, "AccessDenied")(request)

    async with store_that(down) as away:
        blobs = Blobs(tmp_path / "blobs", away)
        for number in range(20):
            await blobs.put(f"results/exe_1/{number}", b"kept")
        assert len(asked) == 1  # then it is left alone for a while: nobody waits twenty times
        assert await blobs.get("results/exe_1/7") == b"kept"
        with pytest.raises(Unavailable):
            await blobs.get("results/exe_1/none")
        with pytest.raises(Unavailable):
            await blobs.delete("results/exe_1/3")
        with pytest.raises(Unavailable):
            await blobs.ship("results/exe_1/4")
    blobs = Blobs(tmp_path / "blobs", far)
    for name in await blobs.here("results"):
        await blobs.ship(name)
    assert (files(blobs), len(await all_of(far, "results"))) == ([], 19)
