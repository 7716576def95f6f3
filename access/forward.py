"""One request of git's, asked upstream in our words: the address of the settings, our credential, git's own types and
nothing else of what the container sent. What the host says about a failure is not passed on."""

import base64
import re
from collections.abc import AsyncIterable, Mapping

import httpx
from starlette.datastructures import Headers

from access.repository import Asked
from access.settings import GitHost
from kit.asgi import refusal
from kit.errors import Fault, Invalid, Missing, Refused, Unavailable
from kit.outbound import Outbound

SILENT_S = 300.0
"""How long a host may take over a pack without a byte."""
_AGENT = re.compile(r"git/[0-9][A-Za-z0-9._-]{0,60}")
_PROTOCOL = re.compile(r"version=[0-2]")
_STATUS: Mapping[int, tuple[type[Fault], str, str, str]] = {
    401: (Refused, "git_credential", "The git host does not take our credential.", "Look at its token in [git]."),
    403: (Refused, "git_credential", "The git host does not let our credential do that.", "Look at what it may."),
    404: (Missing, "git_unknown", "The git host has no such repository, or hides it from our credential.", ""),
}


class Forward:
    """The git hosts of the settings, with their tokens."""

    def __init__(self, hosts: Mapping[str, GitHost]) -> None:
        self._hosts = hosts
        private = [host.dialled(name) for name, host in hosts.items() if host.private]
        hint = "Write `private = true` under the host in [git] if that is meant."
        self._outbound = Outbound(private_hosts=private, hint=hint, ours=False)

    async def ask(self, asked: Asked, head: Headers, body: AsyncIterable[bytes] | None) -> httpx.Response:
        """The host's answer, which is git's; anything else is a Fault. Whoever takes it closes it."""
        host = self._hosts.get(asked.grant.host)
        if host is None:
            raise Refused("git_host_unknown", f"{asked.grant.host} is not set up here.", "Add it to [git].")
        url = host.prefix(asked.grant.host) + asked.path
        headers = {**_headers(asked, head), **_credential(asked.grant.host, host)}
        method = "GET" if asked.refs else "POST"
        answer = await self._outbound.open(method, url, headers=headers, content=body or b"", silent_s=SILENT_S)
        if fault := _told(asked, answer):
            await answer.aclose()
            raise fault
        return answer

    async def close(self) -> None:
        await self._outbound.close()


def _headers(asked: Asked, head: Headers) -> dict[str, str]:
    agent = head.get("user-agent", "")
    found = {"user-agent": agent if _AGENT.fullmatch(agent) else "git/2", "accept": asked.accept}
    found["accept-encoding"] = "identity"
    if not asked.refs:
        found["content-type"] = asked.brings
        found |= _encoding(asked, head)
    protocol = head.get("git-protocol", "")
    if asked.service == "git-upload-pack" and _PROTOCOL.fullmatch(protocol):
        found["git-protocol"] = protocol
    return found


def _encoding(asked: Asked, head: Headers) -> dict[str, str]:
    """git packs what it asks for in a fetch, and never a push."""
    if head.get("content-type") != asked.brings:
        raise Invalid("git_invalid", f"The body is not {asked.brings}.")
    encoding = head.get("content-encoding", "identity")
    if encoding == "identity":
        return {}
    if encoding == "gzip" and asked.service == "git-upload-pack":
        return {"content-encoding": "gzip"}
    raise refusal(415, "encoding_not_supported", f"A body packed as {encoding[:40]!r} is not taken here.", "Use none.")


def _credential(name: str, host: GitHost) -> dict[str, str]:
    token = host.token.get_secret_value() if host.token else None
    if host.token_file:
        try:
            token = host.token_file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise Unavailable("git_credential", f"The token of {name} can't be read.", "See git.token_file.") from error
    if not token:
        return {}
    return {"authorization": "Basic " + base64.b64encode(f"{host.user}:{token}".encode()).decode()}


def _told(asked: Asked, answer: httpx.Response) -> Fault | None:
    """What is wrong with an answer, if anything is."""
    if answer.status_code == 200 and answer.headers.get("content-type") == asked.accept:
        return None
    where = f"{asked.grant.host}/{asked.grant.repo}"
    if answer.is_redirect:
        return refusal(502, "git_moved", f"{where} has moved.", "Write in the flow what it is called now.")
    if answer.status_code == 200:
        return refusal(502, "git_invalid", f"{where} does not speak git's smart HTTP.")
    if answer.status_code in _STATUS:
        kind, *told = _STATUS[answer.status_code]
        return kind(*told)
    said = f"{asked.grant.host} answered with status {answer.status_code}."
    return Unavailable("git_failed", said, "Try again later.")
