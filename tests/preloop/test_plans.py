"""Plans: presets and what the file makes of them."""

from pathlib import Path

import pytest

from control.identity.plans import GB, Plan
from kit.errors import Invalid
from preloop.settings import Settings, load


def told(tmp_path: Path, text: str) -> Settings:
    (tmp_path / "preloop.toml").write_text(text)
    return load(config=tmp_path / "preloop.toml")


def test_the_presets_are_the_product_page_s(tmp_path: Path) -> None:
    plans = told(tmp_path, "").plan_list()
    assert {name: plan.slots for name, plan in plans.items()} == {
        "free": 1,
        "starter": 5,
        "pro": 20,
        "enterprise": None,
    }
    assert [plans[name].storage_bytes for name in ("free", "starter", "pro", "enterprise")] == [
        GB,
        10 * GB,
        100 * GB,
        None,
    ]
    assert plans["enterprise"].timeout_s == 7200


def test_an_owner_changes_a_part_of_a_preset_and_makes_plans_of_their_own(tmp_path: Path) -> None:
    text = '[plans.free]\nslots = 2\nstorage = "0m"\n[plans.night]\ntimeout = "8h"\n'
    with pytest.raises(Invalid, match=r"plans\.free\.storage"):
        told(tmp_path, text.replace('"0m"', '"much"'))
    plans = told(tmp_path, text).plan_list()
    assert plans["free"] == Plan(slots=2, storage_bytes=None, timeout_s=1800)
    assert plans["night"] == Plan(timeout_s=8 * 3600)
