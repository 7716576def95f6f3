"""What a flow may reach beside its tools and models: hosts through the egress door, repositories through the git door.
Pure.

A host is a DNS name in small letters, never an address: what may be dialled is decided when it is resolved.
"""

import re
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import core_schema

from control.identity.charter import GitGrant

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAME = rf"(?:{_LABEL}\.)*[a-z](?:[a-z0-9-]{{0,61}}[a-z0-9])?"
_PART = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}"
_PORT = r"[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]"


class _Form:
    """A text of one form: its refusal is a sentence, the JSON Schema has the pattern."""

    def __init__(self, pattern: str, says: str, *, most: int) -> None:
        self._form = re.compile(pattern)
        self._says = says
        self._most = most

    def _check(self, text: str) -> str:
        if len(text) > self._most or not self._form.fullmatch(text):
            raise ValueError(f"{text[:60]!r} is not {self._says}")
        return text

    def __get_pydantic_core_schema__(self, source: type, inner: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, inner(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, inner: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return inner(schema) | {"pattern": f"^({self._form.pattern})$", "maxLength": self._most}


HostName = Annotated[str, _Form(_NAME, "a host's name in small letters", most=253)]
_SITE = rf"(?:\*\.)?{_NAME}(?::(?:{_PORT}))?"
_SITES = "a host's name in small letters, with :port where it is not 443; an address is none"
Site = Annotated[str, _Form(_SITE, _SITES, most=260)]
"""`github.com`, `example.com:8443`, or `*.example.com` where an admin allows that."""
Wildcard = Annotated[str, _Form(rf"\*\.{_NAME}", "`*.` and a host's name in small letters", most=255)]
_Repo = Annotated[str, _Form(rf"{_PART}(?:/{_PART}){{1,8}}(?<!\.git)", "`owner/repo`, without `.git`", most=300)]
_BRANCHES = "a branch, or the beginning of one with `*`"
_Push = Annotated[str, _Form(rf"(?:{_PART}/)*(?:{_PART}\*?|\*)", _BRANCHES, most=200)]


class GitRepository(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    host: HostName = "github.com"
    """Of preloop.toml's [git]."""
    repo: _Repo
    """`owner/repo`, without `.git`."""
    push: _Push | None = None
    """The branch it may push to; `preloop/*` is all that begin so. Without it the repository is only read."""

    def grant(self) -> GitGrant:
        return GitGrant(host=self.host, repo=self.repo, push=self.push)
