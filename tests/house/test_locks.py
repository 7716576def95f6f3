"""The locks pin everything by hash, name no index, and agree with each other and with pyproject.toml."""

import re

import pytest

from tests.house.plan import ROOT, project

LOCKS = ("requirements.lock", "requirements-extras.lock", "requirements-dev.lock")


def text(lock: str) -> str:
    return (ROOT / lock).read_text()


def pins(lock: str) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==([^\s;]+)", text(lock), re.MULTILINE))


def normal(requirement: str) -> str:
    found = re.match(r"[\w.-]+", requirement)
    assert found
    return re.sub(r"[-_.]+", "-", found[0]).lower()


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_hashes(lock: str) -> None:
    entries = re.split(r"^(?=[\w.-]+==)", text(lock), flags=re.MULTILINE)[1:]
    assert len(entries) > 50
    assert not [entry.splitlines()[0] for entry in entries if "--hash=sha256:" not in entry]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_place(lock: str) -> None:
    assert not re.findall(r"https?://\S+|^--?\w.*|file:\S+|@ \S+", text(lock), re.MULTILINE)


def test_tests_run_on_the_versions_that_are_shipped() -> None:
    assert pins(LOCKS[0]).items() <= pins(LOCKS[1]).items()
    assert pins(LOCKS[1]).items() <= pins(LOCKS[2]).items()


def test_what_is_declared_is_locked() -> None:
    declared = project()["project"]["dependencies"]
    extras = [one for extra in project()["project"]["optional-dependencies"].values() for one in extra]
    assert {normal(d) for d in declared} <= pins(LOCKS[0]).keys()
    assert {normal(d) for d in extras} <= pins(LOCKS[1]).keys()
    assert {normal(d) for d in project()["dependency-groups"]["dev"]} <= pins(LOCKS[2]).keys()
