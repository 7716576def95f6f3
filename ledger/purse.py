"""What one worker holds of the budgets, in memory: leases cut from their rows, and what calls reserve of them.

Pure sums. What the database says of a worker's lease is never less than what is here, because a part is put in here
after it was taken there, and taken out here before it goes back. Neighbours: `budgets` moves the rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from msgspec import Struct

from ledger.limits import Budget, Charge


@dataclass(slots=True, kw_only=True)
class Lease:
    """A worker's part of one hard budget: `free` for the next call, `reserved` for those under way."""

    account_id: str
    budget: Budget
    free: int = 0
    reserved: int = 0
    used: bool = True  # since somebody last looked


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """What is to be cut from a budget: `need` at least, `want` if there is so much."""

    budget: Budget
    need: int
    want: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Nano-dollars of a lease that go back."""

    account_id: str
    budget: Budget
    amount_nano: int


class _Reservation(Struct, frozen=True, kw_only=True):
    places: tuple[tuple[Budget, Lease | None], ...]  # None: a soft one, of which nobody holds a part
    amount_nano: int


class Purse:
    """The leases and reservations of one worker."""

    def __init__(self) -> None:
        self._leases: dict[tuple[str, str], Lease] = {}
        self._reserved: dict[str, _Reservation] = {}

    def reserve(self, id_: str, account_id: str, budgets: Sequence[Budget], amount_nano: int) -> bool:
        """Put an amount aside on every hard budget or on none."""
        places = [(budget, self._lease(account_id, budget) if budget.hard else None) for budget in budgets]
        for _, lease in places:
            if lease and lease.free < amount_nano:
                return False
        for _, lease in places:
            if lease:
                lease.free -= amount_nano
                lease.reserved += amount_nano
                lease.used = True
        self._reserved[id_] = _Reservation(places=tuple(places), amount_nano=amount_nano)
        return True

    def settle(self, id_: str, cost_nano: int) -> tuple[Charge, ...]:
        """What an attempt really cost comes out of what it reserved, the rest is free again; once. What it cost beyond
        all we have of a budget is held too until it is written as spent."""
        reserved = self._reserved.pop(id_, None)
        if reserved is None:
            return ()
        return tuple([_charge(reserved.amount_nano, budget, lease, cost_nano) for budget, lease in reserved.places])

    def add(self, account_id: str, budget: Budget, amount_nano: int) -> None:
        """A part was cut for us."""
        lease = self._lease(account_id, budget)
        lease.free += amount_nano
        lease.used = True

    def wants(self, account_id: str, budgets: Sequence[Budget], amounts: Sequence[int]) -> list[Want]:
        """What is missing for calls of these amounts: for the smallest of them, and for all."""
        found = []
        for budget in budgets:
            free = self._lease(account_id, budget).free if budget.hard else 0
            if budget.hard and free < min(amounts):
                found.append(Want(budget=budget, need=min(amounts) - free, want=sum(amounts) - free))
        return found

    def idle(self) -> list[Part]:
        """Take out what no call touched since the last look."""
        parts = [part for lease in self._free() if not lease.used for part in self._out(lease)]
        for key, lease in list(self._leases.items()):
            lease.used = False
            if not lease.free and not lease.reserved:
                del self._leases[key]
        return parts

    def surrender(self, pressed: Sequence[tuple[str, str]] | None = None) -> list[Part]:
        """Take out all that is free: of these budgets by account and key, or of every one."""
        mine = self._free() if pressed is None else [self._leases[key] for key in pressed if key in self._leases]
        return [part for lease in mine for part in self._out(lease)]

    def busy(self) -> list[tuple[str, str]]:
        """The leases of which something is free, by account and key."""
        return [(lease.account_id, lease.budget.key) for lease in self._free()]

    @property
    def leased(self) -> bool:
        """There are leases, free or reserved."""
        return bool(self._leases)

    def _free(self) -> list[Lease]:
        return [lease for lease in self._leases.values() if lease.free]

    def _out(self, lease: Lease) -> Iterator[Part]:
        if lease.free:
            yield Part(account_id=lease.account_id, budget=lease.budget, amount_nano=lease.free)
            lease.free = 0

    def _lease(self, account_id: str, budget: Budget) -> Lease:
        lease = self._leases.get((account_id, budget.key))
        if lease is None:
            lease = self._leases[(account_id, budget.key)] = Lease(account_id=account_id, budget=budget)
        return lease


def _charge(reserved_nano: int, budget: Budget, lease: Lease | None, cost_nano: int) -> Charge:
    if lease is None:
        return Charge(budget=budget, spent_nano=cost_nano, held_nano=0)
    lease.reserved -= reserved_nano
    lease.free += reserved_nano - cost_nano
    lease.used = True
    beyond = max(0, -lease.free)
    lease.free += beyond
    return Charge(budget=budget, spent_nano=cost_nano, held_nano=beyond - cost_nano)
