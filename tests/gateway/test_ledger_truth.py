"""The ledger's rows against the provider's own count, with clients that leave and gateways that are killed."""

from pathlib import Path

import pytest

from bench import ledger_truth
from bench.ledger_truth import Truth


@pytest.mark.slow
async def test_every_request_that_a_provider_got_is_one_row(tmp_path: Path) -> None:
    truth = await ledger_truth.drive(tmp_path, requests=400, seed=7)
    assert truth.holds, truth.lines()
    assert (truth.killed, truth.stopped) == (1, 1)
    assert truth.entries - truth.unsent.total() == truth.heard > 300
    assert truth.statuses.keys() >= {"answered", "cut", "failed"}


@pytest.mark.parametrize("name", ["missing", "surplus", "foreign", "miscounted", "held_nano", "budgets_off", "stuck"])
def test_one_row_too_few_or_too_many_is_no_truth(name: str) -> None:
    assert Truth(requests=1, heard=1).holds
    wrong = Truth(requests=1, heard=1)
    setattr(wrong, name, 1)
    assert not wrong.holds
