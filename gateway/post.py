"""One request as a provider gets it, and what the client may know of a refusal."""

from collections.abc import Mapping

from yarl import URL

from gateway.attempt import Attempt
from gateway.client import Answer, Client
from gateway.dialects.dialect import Dialect
from gateway.dialects.reasons import reason
from gateway.upstream import Target, UpstreamFailed
from kit.observe import log


class Post:
    """One request as a provider gets it."""

    __slots__ = ("_body", "_client", "_dialect", "_headers", "_url", "target")

    def __init__(
        self, client: Client, target: Target, dialect: Dialect, url: URL, headers: Mapping[str, str], body: bytes
    ) -> None:
        self._client = client
        self._dialect = dialect
        self._url = url
        self._headers = headers
        self._body = body
        self.target = target

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

    async def once(self) -> bytes:
        """The whole answer to a question that costs nothing."""
        answer = await self._client.post(self.target, self._url, self._headers, self._body)
        try:
            if answer.status != 200:
                raise self._refused(answer, await answer.refusal())
            return await answer.whole()
        finally:
            answer.close()

    def _refused(self, answer: Answer, body: bytes) -> UpstreamFailed:
        """What the client may know. What a provider says of our key or our account is for the log alone."""
        status, target, sentence = answer.status, self.target, self._dialect.refused(body)
        why = reason(status, body)
        log.warning("upstream refused", alias=target.alias, provider=target.provider, status=status, said=sentence)
        if status in (400, 413, 422):
            return UpstreamFailed(f"The provider refused the request: {sentence}", answered=status, reason=why)
        if status == 429:
            message = "The provider is asked too often."
        else:
            message = f"The model behind {target.alias!r} failed (status {status})."
        return UpstreamFailed(message, answered=status, retry_after_s=answer.retry_after_s, reason=why)
