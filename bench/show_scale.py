"""Do several replicas over one PostgreSQL keep what one of them keeps: when one is killed, when one is frozen, and
while they are replaced by the next version? And does a second gateway help?

    scripts/show scale [--short]

Three replicas, each with all roles, a process and a data folder of its own: 300 executions, one replica killed and
started again, one frozen past its lease while a runner elsewhere takes over, one frozen so long that nobody takes over
what it left. Then three replicas of one version are replaced by those of the next, whose schema differs. Then one
gateway beside two. `--short`: 18 executions, no frost of the second kind, two replicas replaced meanwhile. SEED draws
other agents. Prints `name: value` lines; exit 0 when all of it holds, 1 when something does not, 2 when a part is
missing. What else runs on the machine is in the figures.
"""

import os
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio
from anyio.to_thread import run_sync

from bench import model_gateways, scale_gateways, scale_truth, scale_versions
from bench.figures import postgres, say
from bench.scale_house import open_fleet
from bench.scale_pages import Pages
from bench.scale_storm import Course, Storm
from bench.scale_truth import Truth
from bench.scale_upgrade import Upgrade
from kit import observe
from ledger import money
from tests.postgres import Cluster, cluster

NAMES = ("one", "two", "three")
PARTS = ("storm", "upgrade", "gateways")
BROKEN_PART = 20
"""One of so many executions may end by an error of its agent: those that were at work in what is killed or frozen."""
CORES, LEAST, MOST_CPU = 4, 1.5, 1.25
"""How many calls two gateways answer for each of one, where there are so many cores, and what a call may cost then."""

ZERO = (
    *("unfinished", "twice_begun", "wrong_logs", "paid_twice", "paid_unapproved", "unpaid", "open_calls"),
    *("broken_record", "broke", "left", "decided_twice", "torn_pages"),
)
ZERO_MONEY = ("missing", "surplus", "foreign", "miscounted", "open_journals", "held_nano", "budgets_off")


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is shown."""

    course: Course
    replaced: int
    talk_s: float
    every_s: float
    """Between two events that are delivered meanwhile."""
    rounds: int
    seconds: int


WHOLE = Size(
    course=Course(
        executions=300,
        begin_s=210,
        kill_at=20,
        back_after=5,
        freeze_at=35,
        frozen_s=45,
        freeze_again_at=100,
        frozen_again_s=170,
    ),
    replaced=3,
    talk_s=60,
    every_s=0.5,
    rounds=5,
    seconds=3,
)
SHORT = Size(
    course=Course(executions=18, begin_s=12, kill_at=4, back_after=2, freeze_at=8, frozen_s=33),
    replaced=2,
    talk_s=15,
    every_s=1.2,
    rounds=2,
    seconds=1,
)


class Shown:
    """What was said, and whether all of it holds."""

    def __init__(self) -> None:
        self.held = True

    def judged(self, name: str, value: object, holds: bool) -> None:
        self.held &= holds
        say(name, f"{value}{'' if holds else '  DOES NOT HOLD'}")

    def truth(self, about: str, truth: Truth) -> None:
        """What was left, with `wrong` only where there is something."""
        ledger = truth.ledger
        say(f"{about}_executions", f"{truth.ends.total()}, {dict(truth.ends)}")
        for why, count in truth.because.most_common():
            say(f"{about}_failed", f"{count} of {why}")
        broken, most = truth.broken, truth.ends.total() // BROKEN_PART
        self.judged(f"{about}_agents_that_broke", f"{broken} (at most {most})", broken <= most)
        for name in ("agents", "adopted", "payments", "spooled", "decided", "watched"):
            say(f"{about}_{name}", getattr(truth, name))
        say(f"{about}_model_calls", f"{ledger.heard} heard by the provider, {ledger.entries} in the ledger")
        by = {"statuses": dict(ledger.statuses), "unsent": dict(ledger.unsent)}
        say(f"{about}_model_calls_by", by)
        zero = {name: getattr(truth, name) for name in ZERO} | {name: getattr(ledger, name) for name in ZERO_MONEY}
        off = {name: value for name, value in zero.items() if value}
        self.judged(f"{about}_wrong_of_{len(zero)}_counts", off or "none", truth.holds)
        for wrong in truth.wrong[:10]:
            say(f"{about}_wrong", wrong)


async def storm(folder: Path, database: str, size: Size, seed: int, shown: Shown) -> None:
    async with open_fleet(folder, database, NAMES) as fleet:
        async with anyio.create_task_group() as watching:
            pages = Pages(planes=[fleet.replicas["three"]], tasks=watching)
            raging = Storm(fleet=fleet, course=size.course, pages=pages, seed=seed)
            await raging.rage()
            await fleet.stop()
            watching.cancel_scope.cancel()
        truth = await scale_truth.compare(fleet, raging.ids, pages.open_)
    say("storm_under_way_when", dict(raging.held_by))
    say("storm_connections", f"{fleet.balancer.cut} cut, {fleet.balancer.refused} sent to another replica")
    shown.truth("storm", truth)
    refused = {frost: dict(sorted(writes.items())) for frost, writes in raging.refused.items()}
    shown.judged("storm_writes_refused_after_a_frost", refused, all(refused.values()) and bool(refused))
    raced = f"{raging.races} at two replicas at once, {dict(raging.said)}, {raging.twice} taken twice"
    shown.judged("storm_opposite_verdicts", raced, raging.twice == 0 and raging.said.total() > 0)
    spent = f"{money.usd(truth.spent_nano)} of {money.usd(truth.limit_nano)} USD"
    shown.judged("storm_budget_that_was_asked_for_more", spent, truth.spent_well)


async def upgrade(folder: Path, database: str, size: Size, shown: Shown) -> None:
    with scale_versions.versions(folder / "code") as versions:
        async with open_fleet(folder, database, NAMES[: size.replaced], at=versions.older) as fleet:
            async with anyio.create_task_group() as watching:
                pages = Pages(planes=list(fleet.replicas.values()), tasks=watching, again=True)
                rolling = Upgrade(fleet=fleet, versions=versions, pages=pages, talk_s=size.talk_s, every_s=size.every_s)
                await rolling.run()
                await fleet.stop()
                watching.cancel_scope.cancel()
            truth = await scale_truth.compare(fleet, rolling.ids, pages.open_, at=versions.newer)
    say("upgrade_requests", f"{rolling.asked.total()}, {dict(rolling.asked)}")
    say("upgrade_asked_at_the_next_replica", dict(rolling.again))
    say("upgrade_pages_were_opened", [page.opened for page in pages.open_])
    shown.truth("upgrade", truth)
    shown.judged("upgrade_requests_lost", rolling.lost[:3] or 0, not rolling.lost)
    waited = [at == versions.between and waits == [versions.last] for _, (at, waits, older) in rolling.steps if older]
    last = rolling.steps[-1][1]
    done = len(waited) == size.replaced - 1 and all(waited) and last == (versions.last, [], 0)
    shown.judged("upgrade_schema_waits_for_older_replicas", rolling.steps, done)
    shown.judged("upgrade_older_version_afterwards_exits", rolling.older_code, rolling.older_code == 5)


def gateways(folder: Path, database: str, size: Size, shown: Shown) -> None:
    cores = os.cpu_count() or 1
    most = 4 if cores >= 8 else 2
    found = scale_gateways.measured(folder, database, most=most, rounds=size.rounds, seconds=size.seconds)
    for many, per_s in found.per_s.items():
        say(f"gateways_{many}", f"{per_s:.0f} calls/s, CPU {found.cpu_ms[many]:.3f} ms a call")
    ratio, cpu = found.per_s[2] / found.per_s[1], found.cpu_ms[2] / found.cpu_ms[1]
    if cores < CORES:  # wrk, nginx and PostgreSQL have the second one
        say("gateways_2_over_1", f"{ratio:.2f} (held to no limit with fewer than {CORES} cores)")
    else:
        shown.judged("gateways_2_over_1", f"{ratio:.2f} (at least {LEAST:g})", ratio >= LEAST)
    shown.judged("gateways_cpu_of_a_call_2_over_1", f"{cpu:.2f} (at most {MOST_CPU:g})", cpu <= MOST_CPU)


async def show(server: Cluster, at: Path, size: Size, seed: int) -> bool:
    shown, began = Shown(), time.monotonic()
    folders = {name: at / name for name in PARTS}
    databases = {name: server.make_database(name) for name in folders}
    weathered = partial(storm, folders["storm"], databases["storm"], size, seed, shown)
    replaced = partial(upgrade, folders["upgrade"], databases["upgrade"], size, shown)
    if size is SHORT:  # one is mostly waiting for a lease to run out
        async with anyio.create_task_group() as both:
            both.start_soon(weathered)
            both.start_soon(replaced)
    else:
        await weathered()
        await replaced()
    say("load_average", "{:.1f} {:.1f} {:.1f}".format(*os.getloadavg()))
    await run_sync(gateways, folders["gateways"], databases["gateways"], size, shown)
    say("seconds", f"{time.monotonic() - began:.0f}")
    say("holds", "yes" if shown.held else "no")
    return shown.held


def main() -> int:
    size, seed = (SHORT if "--short" in sys.argv[1:] else WHOLE), int(os.environ.get("SEED", "1"))
    observe.configure("error")
    programs = postgres()
    absent = {name: how for name, how in model_gateways.missing().items() if name in ("nginx", "wrk")}
    for name, how in absent.items():
        print(f"{name} is missing: {how}", file=sys.stderr)
    if programs is None or absent:
        return 2
    print(f"size: {size.course.executions} executions{', short' if size is SHORT else ''}, {os.cpu_count()} cores")
    say("engine", "processes that outlive their plane; a folder of them stands for a cluster that two runners reach")
    say("versions", "made from the working tree: the older adds a column, the newer adds another and drops that one")
    with cluster(programs) as server, tempfile.TemporaryDirectory() as at:
        os.chmod(at, 0o755)  # nginx's worker is somebody else when we are root
        for part in PARTS:
            os.mkdir(f"{at}/{part}")
        return 0 if anyio.run(show, server, Path(at), size, seed) else 1


if __name__ == "__main__":
    sys.exit(main())
