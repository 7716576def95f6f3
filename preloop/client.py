"""The command line's view of a plane: REST over HTTP, found by the file a local plane leaves or by `PRELOOP_URL`."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import httpx

from kit import tls
from kit.errors import Conflict, Fault, Invalid, Missing, Refused, Throttled, Unauthorized, Unavailable
from preloop.client_settings import ClientSettings

_KINDS: dict[int, type[Fault]] = {
    400: Invalid,
    401: Unauthorized,
    402: Refused,
    403: Refused,
    404: Missing,
    409: Conflict,
    412: Conflict,
    413: Invalid,
    422: Invalid,
    429: Throttled,
    501: Invalid,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


TOKEN_HINT = "Set PRELOOP_TOKEN to a token that lives; `preloop tokens create NAME` beside the plane makes one."
PAGE = 200
"""Items that one question asks for."""


class Client:
    """One plane, one token."""

    def __init__(self, url: str, token: str) -> None:
        """Invalid for what can't be an address, Unauthorized for what can't be a token."""
        self.url = url = url.rstrip("/")
        if not url.startswith(("http://", "https://")):
            raise Invalid(
                "url_invalid", f"{url!r} is no address of a control plane.", "It begins with http:// or https://."
            )
        if not token or not token.isascii() or not token.isprintable():
            raise Unauthorized("token_missing", f"There is no token for {url}.", TOKEN_HINT)
        headers = {"authorization": f"Bearer {token}"}
        trusted = tls.context() if url.startswith("https:") else False
        self._http = httpx.Client(
            base_url=f"{url}/api/v1", headers=headers, timeout=30, trust_env=False, verify=trusted
        )

    @classmethod
    def find(cls) -> "Client":
        """By the environment, else by the data folder of this machine's plane."""
        settings = ClientSettings()
        if settings.url:
            return cls(settings.url, settings.token.get_secret_value() if settings.token else "")
        path = settings.data / "plane.json"
        start = "Start one with `preloop up`, or set PRELOOP_URL and PRELOOP_TOKEN."
        try:
            found = json.loads(path.read_text())
            url, token = str(found["url"]), str(found["token"])
        except FileNotFoundError as error:
            raise Unavailable(
                "plane_not_found",
                f"No control plane runs here: there is no {path}.",
                f"{start} PRELOOP_DATA names the folder.",
            ) from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Unavailable(
                "plane_not_found", f"{path} can't be read, or is not what a plane writes.", start
            ) from error
        return cls(url, token)

    def get(self, *at: str, **query: Any) -> Any:  # noqa: ANN401 - the answer is JSON
        """What is at `/api/v1/at[0]/at[1]/…`; each part may contain anything."""
        return self._ask("GET", at, params=_said(query))

    def post(self, *at: str, body: object = None) -> Any:  # noqa: ANN401 - the answer is JSON
        return self._ask("POST", at, json={} if body is None else body)

    def patch(self, *at: str, body: object) -> Any:  # noqa: ANN401 - the answer is JSON
        return self._ask("PATCH", at, json=body)

    def put(self, *at: str, text: str, media: str, headers: Mapping[str, str], **query: Any) -> Any:  # noqa: ANN401 - JSON
        """Put a file there."""
        return self._ask(
            "PUT", at, content=text.encode(), params=_said(query), headers={"content-type": media, **headers}
        )

    def items(self, *at: str, most: int | None = None, **query: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - filters
        """The items of a list, over its pages; `most` of them, or all."""
        cursor = None
        left = sys.maxsize if most is None else most
        while left > 0:
            page = self.get(*at, cursor=cursor, limit=min(left, PAGE), **query)
            yield from page["items"][:left]
            left -= len(page["items"])
            cursor = page["next"]
            if cursor is None:
                return

    def text(self, *at: str, accept: str = "*/*", **query: Any) -> tuple[str, str | None]:  # noqa: ANN401 - query
        """What is there as text, and the address of what goes on, if something does."""
        answer = self._answer("GET", at, params=_said(query), headers={"accept": accept})
        if answer.is_success:
            return answer.text, answer.links.get("next", {}).get("url")
        raise self._fault(answer.status_code, _json(answer))

    def _ask(self, method: str, at: Sequence[str], **more: Any) -> Any:  # noqa: ANN401 - httpx's own arguments
        answer = self._answer(method, at, **more)
        told = _json(answer)
        if answer.is_success and isinstance(told, dict):
            return told
        raise self._fault(answer.status_code, told)

    def _answer(self, method: str, at: Sequence[str], **more: Any) -> httpx.Response:  # noqa: ANN401 - httpx's own
        path = "".join(map(_part, at))
        try:
            return self._http.request(method, path, **more)
        except httpx.HTTPError as error:
            raise Unavailable(
                "plane_unreachable",
                f"{self.url} does not answer: {str(error).rstrip('.') or type(error).__name__}.",
                "Is `preloop up` running there?",
            ) from error

    def _fault(self, status: int, told: object) -> Fault:
        """What a plane says is wrong, or that no plane said it."""
        match told:
            case {"code": str(code), "detail": str(message), **more}:
                hint = TOKEN_HINT if status == Unauthorized.status else str(more.get("hint", ""))
                return _KINDS.get(status, Fault)(code, message, hint)
        kind = Unavailable if status < 400 else _KINDS.get(status, Fault)
        message = f"{self.url} answers {status}, and not as a control plane does."
        return kind("answer_unreadable", message, "Does PRELOOP_URL name one, with http or https as it should?")


def _json(answer: httpx.Response) -> object:
    try:
        return answer.json() if answer.content else None
    except ValueError:
        return None


def _said(query: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in query.items() if value is not None}


def _part(name: str) -> str:
    """One step of a path, whatever it is named: `files/read` and `..` too."""
    if not name:
        raise Invalid("name_empty", "A name or an id is empty.", "Perhaps a variable of your shell is not set.")
    return "/" + (quote(name, safe="") if name.strip(".") else name.replace(".", "%2E"))
