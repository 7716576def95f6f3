"""What a path of the git door means: a repository that the charter names, and one of git's three requests. Pure.

The address is compared with what the flow says, character by character, and the upstream's address is made of what the
flow says: no path is decoded, joined or cleaned here.
"""

from dataclasses import dataclass
from typing import Literal

from control.identity.charter import Charter, GitGrant
from kit.errors import Invalid, Refused

PREFIX = "/git/"
Service = Literal["git-upload-pack", "git-receive-pack"]
_SERVICES: dict[str, Service] = {"git-upload-pack": "git-upload-pack", "git-receive-pack": "git-receive-pack"}
_REFS = "info/refs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """`refs`: the list of refs is asked for, which every fetch and push begins with."""

    grant: GitGrant
    service: Service
    refs: bool

    @property
    def path(self) -> str:
        """What follows the host's address."""
        repository = f"/{self.grant.repo}.git/"
        return repository + (f"{_REFS}?service={self.service}" if self.refs else self.service)

    @property
    def accept(self) -> str:
        """The type of the answer, as git's smart HTTP has it."""
        return f"application/x-{self.service}-{'advertisement' if self.refs else 'result'}"

    @property
    def brings(self) -> str:
        """The type of what is posted."""
        return f"application/x-{self.service}-request"


def find(charter: Charter, method: str, path: str, query: bytes) -> Asked:
    """What is asked, or Refused for what the flow does not name. `path` is as it came, nothing in it decoded."""
    for grant in charter.git:
        for spelled in (f"{PREFIX}{grant.host}/{grant.repo}/", f"{PREFIX}{grant.host}/{grant.repo}.git/"):
            if path.startswith(spelled):
                asked = _asked(grant, method, path[len(spelled) :], query)
                if asked.service == "git-receive-pack" and grant.push is None:
                    raise Refused(
                        "git_read_only", f"This flow only reads {grant.repo}.", "Give it a `push` branch in the flow."
                    )
                return asked
    shown = path.removeprefix(PREFIX)[:200]
    raise Refused("git_not_listed", f"This flow does not list the repository of {shown!r}.", "Add it to its `git`.")


def _asked(grant: GitGrant, method: str, rest: str, query: bytes) -> Asked:
    name, _, service = query.decode("latin-1").partition("=")
    if method == "GET" and rest == _REFS and name == "service" and service in _SERVICES:
        return Asked(grant=grant, service=_SERVICES[service], refs=True)
    if method == "POST" and rest in _SERVICES and not query:
        return Asked(grant=grant, service=_SERVICES[rest], refs=False)
    raise Invalid("git_invalid", "That is no request of git's smart HTTP.", "Old clients and Git LFS are not served.")
