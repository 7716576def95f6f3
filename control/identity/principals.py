"""What a token means: a Principal is an agent's runtime session, a Person is somebody signed in. Values only."""

from dataclasses import dataclass
from enum import StrEnum

from control.identity.charter import Charter

AUDIENCE = "preloop:containers"
"""`aud` of every runtime token: it is accepted on the containers' listener and nowhere else."""


class Role(StrEnum):
    ADMIN = "admin"  # everything, people and keys too
    OPERATOR = "operator"  # start, cancel and change flows
    APPROVER = "approver"  # decide what they are asked
    VIEWER = "viewer"  # look


RANK = {Role.VIEWER: 0, Role.APPROVER: 1, Role.OPERATOR: 2, Role.ADMIN: 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """An agent that speaks to us in a runtime session."""

    account_id: str
    session_id: str
    execution_id: str | None
    name: str
    charter: Charter

    @property
    def stream(self) -> str:
        """The event stream its doings are recorded in."""
        return self.execution_id or self.session_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody signed in, or an API token that acts for them."""

    account_id: str
    user_id: str
    email: str
    name: str
    role: Role

    def may(self, needed: Role) -> bool:
        return RANK[self.role] >= RANK[needed]
