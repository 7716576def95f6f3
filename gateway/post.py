"""One request as a provider gets it, and what others may know of how it failed: never the key it was sent with."""

from collections.abc import Callable

from yarl import URL

from gateway.attempt import Attempt
from gateway.client import Answer, Client
from gateway.dialects.dialect import Broken, Dialect
from gateway.dialects.failures import told
from gateway.dialects.reasons import reason
from gateway.upstream import Target, UpstreamFailed
from gateway.wires.neutral import Request
from kit.observe import log


class Post:
    """One request as a provider gets it."""

    __slots__ = ("_body", "_client", "_dialect", "_headers", "_key", "_url", "target")

    def __init__(
        self, client: Client, target: Target, dialect: Dialect, url: URL, request: Request, key: str | None, body: bytes
    ) -> None:
        self._client = client
        self._dialect = dialect
        self._url = url
        self._headers = dialect.headers(key, request)
        self._key = key
        self._body = body
        self.target = target

    @property
    def size(self) -> int:
        """Bytes of the body that the provider is sent."""
        return len(self._body)

    async def send(self, attempt: Attempt) -> Answer:
        """The answer, once it is known to be one."""
        attempt.unsent = True
        answer = await self._client.post(self.target, self._url, self._headers, self._body, attempt.sent)
        attempt.upstream_id = answer.request_id
        if answer.status == 200:
            return answer
        try:
            raise self._refused(answer, await answer.refusal())
        finally:
            answer.close()

    async def whole(self, attempt: Attempt, read: Callable[[bytes], bytes]) -> bytes:
        """What is read out of an answer that comes in one piece."""
        answer = await self.send(attempt)
        attempt.whole = True
        try:
            body = await answer.whole()
        finally:
            answer.close()
        try:
            return read(body)
        except ValueError as error:
            raise self.broken(error, attempt, len(body)) from error

    async def once(self) -> bytes:
        """The whole answer to a question that costs nothing."""
        answer = await self._client.post(self.target, self._url, self._headers, self._body)
        try:
            if answer.status != 200:
                raise self._refused(answer, await answer.refusal())
            return await answer.whole()
        finally:
            answer.close()

    def broken(self, error: ValueError, attempt: Attempt, size: int = 0) -> UpstreamFailed:
        """The provider said inside of its answer that it failed, or spoke in no way that it should."""
        if isinstance(error, Broken):
            attempt.counted(error.counted, last=True)
            code = "upstream_cut" if attempt.began else "upstream_failed"
            why, sentence = reason(error.status, str(error)), told(str(error), self._key)
            return UpstreamFailed(f"The model failed: {sentence}", code=code, answered=error.status, reason=why)
        attempt.overheard(size)
        return UpstreamFailed("The provider's answer can't be read.", code="upstream_cut")

    def _refused(self, answer: Answer, body: bytes) -> UpstreamFailed:
        """What the client may know. What a provider says of our account is for the log alone."""
        status, target, sentence = answer.status, self.target, told(self._dialect.refused(body), self._key)
        why = reason(status, body)
        log.warning("upstream refused", alias=target.alias, provider=target.provider, status=status, said=sentence)
        if status in (400, 413, 422):
            return UpstreamFailed(f"The provider refused the request: {sentence}", answered=status, reason=why)
        if status == 429:
            message = "The provider is asked too often."
        else:
            message = f"The model behind {target.alias!r} failed (status {status})."
        return UpstreamFailed(message, answered=status, retry_after_s=answer.retry_after_s, reason=why)
