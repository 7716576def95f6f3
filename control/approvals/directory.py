"""Who can be asked: approvers and groups as the configuration names them. Values only."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Approver:
    """A person who decides. `notify` names channels of `[notify]`; `console` prints the link where `up` runs."""

    id: str
    name: str
    email: str = ""
    notify: tuple[str, ...] = ("console",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    approvers: Mapping[str, Approver]
    groups: Mapping[str, tuple[str, ...]]

    def members(self, group: str) -> tuple[Approver, ...]:
        """The approvers of a group; empty when nobody is in it."""
        return tuple(self.approvers[id_] for id_ in self.groups.get(group, ()))

    def asked(self, group: str, further: str | None) -> tuple[Approver, ...]:
        """The members of a group, and of the one that was asked too; nobody twice."""
        first = self.members(group)
        return first + tuple(member for member in self.members(further or "") if member not in first)
