"""What is known by name and not built yet: each room refuses its own, and the changelog names all of them."""

import re

import pytest

from control.flows import flow
from kit.errors import Invalid
from preloop import settings
from tests.house.plan import ROOT
from web import app


def refused() -> set[str]:
    """As a person would write it: a key of a flow file, a section, an address."""
    keys = {name.rpartition(".")[2] for name, _ in flow.UNSUPPORTED}
    sections = {f"[{name}]" for name in settings.NOT_YET}
    return keys | sections | set(app.ABSENT)


def test_the_changelog_names_whatever_is_refused_by_name() -> None:
    section = (ROOT / "CHANGELOG.md").read_text().split("### Not yet")[1].split("\n## ")[0]
    told = set(re.findall(r"`([^`]+)`", section))
    assert refused() - told == set()


@pytest.mark.parametrize("section", settings.NOT_YET)
def test_a_section_that_is_not_built_is_refused_as_that(section: str) -> None:
    with pytest.raises(Invalid) as caught:
        settings.load(**{section: {"logs_days": 1}})
    assert (caught.value.code, f"[{section}]" in caught.value.message) == ("not_supported_yet", True)
