"""What is known by name and not built yet: the changelog names all of it."""

import re

from tests.house.plan import ROOT
from web import app


def test_the_changelog_names_whatever_is_refused_by_name() -> None:
    section = (ROOT / "CHANGELOG.md").read_text().split("### Not yet")[1].split("\n## ")[0]
    told = set(re.findall(r"`([^`]+)`", section))
    assert set(app.ABSENT) - told == set()
