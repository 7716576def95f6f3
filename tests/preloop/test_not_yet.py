"""What is known by name and not built yet: each room refuses its own, and the changelog names all of them."""

import re

from control.flows import flow
from tests.house.plan import ROOT
from web import app


def refused() -> set[str]:
    """As a person would write it: a key of a flow file, an address."""
    keys = {name.rpartition(".")[2] for name, _ in flow.UNSUPPORTED}
    return keys | set(app.ABSENT)


def test_the_changelog_names_whatever_is_refused_by_name() -> None:
    section = (ROOT / "CHANGELOG.md").read_text().split("### Not yet")[1].split("\n## ")[0]
    told = set(re.findall(r"`([^`]+)`", section))
    assert refused() - told == set()
