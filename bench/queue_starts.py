"""From the event to the agent's first moment when a slot is free: a plane that runs, with real agents as processes."""

from datetime import datetime
from pathlib import Path
from statistics import median, quantiles

from bench.figures import Judged
from tests.journeys.plane import plane

LIMIT_S = 5.0
CLAIM_LIMIT_S = 0.1
"""By the median: a tenth of what a poll would take."""


async def started(folder: Path, url: str | None, count: int, say: Judged) -> None:
    """One execution after the other; each is cancelled when its agent has begun, so that the next has a slot."""
    claimed, begun = [], []
    async with plane(folder, database=url) as (running, _):
        for _ in range(count):
            id_ = await running.trigger()
            row = await running.until(id_, lambda row: row["agent_started_at"] is not None)
            born = datetime.fromisoformat(row["created_at"])
            claimed.append((datetime.fromisoformat(row["started_at"]) - born).total_seconds())
            begun.append((datetime.fromisoformat(row["agent_started_at"]) - born).total_seconds())
            async with running.http() as http:
                (await http.post(f"/api/v1/executions/{id_}/cancel")).raise_for_status()
            await running.ended(id_)
    claim, start = (quantiles(its, n=20, method="inclusive")[18] for its in (claimed, begun))
    usual = median(claimed)
    say("event_to_claim_ms", f"{usual * 1000:.0f} median, {claim * 1000:.0f} p95 of {count}", usual <= CLAIM_LIMIT_S)
    say("event_to_agent_s", f"{median(begun):.2f} median, {start:.2f} p95 of {count}", start <= LIMIT_S)
