"""Which metrics a query of Prometheus reads, and by which labels it groups and selects them. Enough of the language for
dashboards and alerts: its grammar is prometheus.io/docs/prometheus/latest/querying/basics."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

WORDS = {"by", "without", "on", "ignoring", "group_left", "group_right", "bool", "offset", "and", "or", "unless"}
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")
_SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)\s*\{([^}]*)\}")
_MATCHER = re.compile(r"([a-zA-Z_]\w*)\s*(?:=~|!~|!=|=)")
_NAME = re.compile(r"(?<![\w$.])[a-zA-Z_:][\w:]*(?!\w*\s*\()")


@dataclass(frozen=True)
class Read:
    """What one query reads."""

    metrics: frozenset[str]
    labels: frozenset[str]
    """What it groups by."""
    selected: frozenset[tuple[str, str]]
    """(metric, label) that it selects by."""


def read(query: str) -> Read:
    bare = _STRING.sub('""', query)
    labels = {label.strip() for found in _GROUPING.finditer(bare) for label in found[1].split(",") if label.strip()}
    selected = {(metric, label) for metric, inner in _SELECTOR.findall(bare) for label in _MATCHER.findall(inner)}
    rest = re.sub(r"\[[^\]]*\]", "", re.sub(r"\{[^}]*\}", "", _GROUPING.sub("", bare)))
    return Read(frozenset(_metrics(rest)), frozenset(labels), frozenset(selected))


def _metrics(text: str) -> Iterator[str]:
    for found in _NAME.finditer(text):
        if found[0] not in WORDS:
            yield found[0]
