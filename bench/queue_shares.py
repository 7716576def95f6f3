"""Who gets the slots while every flow has more than it may run: real claims and ends, in a time that is drawn.

Each execution lasts 1 to 3 units of drawn time; the one that is over first ends, and the slot is claimed anew. So the
shares are the queue's own, whatever else the machine does.
"""

import heapq
import random
from collections import Counter, defaultdict
from pathlib import Path

from bench.figures import Judged
from bench.queue_house import FLOWS, enqueue, limit, open_house
from control.executions import queue
from control.executions.states import Cause
from tests.control.house import House

SLOTS = 60
"""7 flows may run one at a time; the even share of the other 13 is 4.08."""
WORST = 0.10


class Bench:
    """The slots, as drawn time sees them."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._dice = random.Random(1)
        self._busy: list[tuple[float, str, str]] = []
        self.now = 0.0
        self.running: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.used: dict[str, float] = defaultdict(float)

    async def fill(self) -> int:
        """Claim until there is nothing to claim; how many were."""
        count = 0
        while row := await self._house.db.write(lambda tx: queue.claim(tx, "bench")):
            heapq.heappush(self._busy, (self.now + self._dice.uniform(1, 3), row.id, row.flow_name))
            self.running[row.flow_name] += 1
            self.most |= self.running
            count += 1
        return count

    async def end_one(self) -> None:
        over, id_, flow = heapq.heappop(self._busy)
        for name, count in self.running.items():
            self.used[name] += count * (over - self.now)
        self.now = over
        self.running[flow] -= 1
        await self._house.end(id_, Cause.AGENT_ERROR)


async def shared(folder: Path, url: str | None, ends: int, say: Judged) -> None:
    """Fill the slots, then let so many executions end, one after the other."""
    house = await open_house(folder, url, SLOTS)
    for number in range(FLOWS):
        await enqueue(house, f"flow-{number}", ends * 5 // SLOTS + 50, number * 60)
    bench = Bench(house)
    filled = await bench.fill()
    taken = []
    for _ in range(ends):
        await bench.end_one()
        taken.append(await bench.fill())
    say(f"slots_of_{SLOTS}_used_from_the_start", filled, filled == SLOTS)
    say(f"freed_slots_of_{ends}_given_at_once", taken.count(1), taken.count(1) == ends)
    flows = {f"flow-{number}": limit(number) for number in range(FLOWS)}
    over = [name for name, its in flows.items() if bench.most[name] > its]
    say("flows_that_ran_more_than_they_may", len(over), not over)
    got = {name: bench.used[name] / bench.now for name in flows}
    due = evenly(SLOTS, flows)
    for its in sorted(set(flows.values())):
        mean = [got[name] for name in flows if flows[name] == its]
        say(f"mean_slots_of_a_flow_with_limit_{its}", f"{min(mean):.2f} to {max(mean):.2f}", True)
    worst = max(abs(got[name] / due[name] - 1) for name in flows)
    say("furthest_from_its_even_share", f"{worst:.1%}", worst <= WORST)
    await house.db.close()


def evenly(total: float, limits: dict[str, int]) -> dict[str, float]:
    """An even share of all for each, but no more than it may take; what it may not take goes to the others evenly."""
    due: dict[str, float] = {}
    for name in sorted(limits, key=lambda name: limits[name]):
        due[name] = min(limits[name], (total - sum(due.values())) / (len(limits) - len(due)))
    return due
