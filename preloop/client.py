"""The command line's view of a plane: REST over HTTP, found by the file a local plane leaves or by `PRELOOP_URL`."""

import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

import httpx

from kit.errors import Conflict, Fault, Invalid, Missing, Refused, Unauthorized, Unavailable
from preloop.settings import ClientSettings

_KINDS: dict[int, type[Fault]] = {
    401: Unauthorized,
    402: Refused,
    403: Refused,
    404: Missing,
    409: Conflict,
    422: Invalid,
    400: Invalid,
    413: Invalid,
}


PAGE = 200
"""Items that one question asks for."""


class Client:
    """One plane, one token."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        headers = {"authorization": f"Bearer {token}"}
        self._http = httpx.Client(base_url=f"{url}/api/v1", headers=headers, timeout=30, trust_env=False)

    @classmethod
    def find(cls) -> "Client":
        """By the environment, else by the data folder of this machine's plane."""
        settings = ClientSettings()
        if settings.url:
            return cls(settings.url.rstrip("/"), settings.token.get_secret_value() if settings.token else "")
        path = settings.data / "plane.json"
        try:
            found = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise Unavailable(
                "plane_not_found",
                f"No control plane runs here: there is no {path}.",
                "Start one with `preloop up`, or set PRELOOP_URL and PRELOOP_TOKEN.",
            ) from error
        return cls(found["url"], found["token"])

    def get(self, *at: str, **query: Any) -> Any:  # noqa: ANN401 - the answer is JSON
        """What is at `/api/v1/at[0]/at[1]/…`; each part may contain anything."""
        return self._ask("GET", at, params={name: value for name, value in query.items() if value is not None})

    def post(self, *at: str, body: object = None) -> Any:  # noqa: ANN401 - the answer is JSON
        return self._ask("POST", at, json={} if body is None else body)

    def put(self, *at: str, text: str) -> Any:  # noqa: ANN401 - the answer is JSON
        return self._ask("PUT", at, content=text.encode(), headers={"content-type": "application/yaml"})

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

    def _ask(self, method: str, at: Sequence[str], **more: Any) -> Any:  # noqa: ANN401 - httpx's own arguments
        path = "".join(map(_part, at))
        try:
            answer = self._http.request(method, path, **more)
        except httpx.HTTPError as error:
            raise Unavailable(
                "plane_unreachable", f"{self.url} does not answer: {error}.", "Is `preloop up` running there?"
            ) from error
        if answer.is_success:
            return answer.json() if answer.content else None
        raise _fault(answer)


def _part(name: str) -> str:
    """One step of a path, whatever it is named: `files/read` and `..` too."""
    if not name:
        raise Invalid("name_empty", "A name or an id is empty.", "Perhaps a variable of your shell is not set.")
    return "/" + (quote(name, safe="") if name.strip(".") else name.replace(".", "%2E"))


def _fault(answer: httpx.Response) -> Fault:
    try:
        told = answer.json()
        code, message, hint = told["code"], told["detail"], told.get("hint", "")
    except (ValueError, KeyError, TypeError):
        code, message, hint = "answer_unreadable", f"The plane answered {answer.status_code}.", ""
    return _KINDS.get(answer.status_code, Unavailable if answer.status_code == 503 else Fault)(code, message, hint)
