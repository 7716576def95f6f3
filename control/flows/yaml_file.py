"""YAML in and out, with the line of every key. Pure.

Words mean what YAML 1.2 says: `on` and `2024-01-01` are texts, only `true` and `false` are truth values. What YAML
allows and two readers would understand differently, such as a key written twice, is refused.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from kit.errors import Invalid

At = tuple[str | int, ...]
"""Where a value stands: keys of mappings and numbers of a sequence's items, from 0."""
Lines = Mapping[At, int]
MOST = 20_000
"""Values in one file, what `*name` repeats counted each time."""
DEEPEST = 64
FLATTER = "Write it flatter."
_BREAKS = re.compile("[\r\x85\u2028\u2029\ufeff]")
_WORDS = {
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?(?:0|[1-9][0-9]{0,40})", list("-+0123456789")),
    "float": (r"[-+]?[0-9]{1,40}\.[0-9]{1,40}(?:[eE][-+][0-9]{1,3})?", list("-+0123456789")),
    "merge": (r"<<", ["<"]),
}


class _Loader(yaml.CSafeLoader):
    """The safe one with YAML 1.2's words."""


_Loader.yaml_implicit_resolvers = {}
for _tag, (_pattern, _first) in _WORDS.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first)


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as blocks; short sequences and mappings on one line."""


def _text(dumper: _Dumper, text: str) -> yaml.Node:
    style = "|" if "\n" in text.strip("\n") or text.endswith("\n") else None
    if _BREAKS.search(text):
        style = '"'  # its emitter takes them for ends of lines elsewhere
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def load(text: str) -> tuple[Any, Lines]:
    """What a file says, and on which line it says it. Invalid names the line."""
    try:
        _fathom(text)
        node = yaml.compose(text, Loader=_Loader)
        lines: dict[At, int] = {}
        if node is not None:
            _walk(node, (), lines)
        return yaml.load(text, Loader=_Loader), lines
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        said = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise Invalid(
            "flow_invalid", f"{where}this is not YAML: {said}.", "Check indents, quotes and brackets."
        ) from error


def _fathom(text: str) -> None:
    """Refuse what is nested deeply, before libyaml follows it down and takes the process along."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            line = event.start_mark.line + 1 if event.start_mark else 1
            raise Invalid("flow_invalid", f"line {line}: this is nested more than {DEEPEST} levels deep.", FLATTER)


def dump(body: object) -> str:
    return str(yaml.dump(body, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110))


def _walk(node: yaml.Node, at: At, lines: dict[At, int]) -> None:
    lines.setdefault(at, node.start_mark.line + 1)
    if len(lines) > MOST or len(at) > DEEPEST:
        raise Invalid("flow_invalid", "The file is too large once its `*names` are written out.", FLATTER)
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            _walk(item, (*at, number), lines)
    elif isinstance(node, yaml.MappingNode):
        _pairs(node.value, at, lines)


def _pairs(pairs: Sequence[tuple[yaml.Node, yaml.Node]], at: At, lines: dict[At, int]) -> None:
    for key, value in pairs:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode) or key.tag not in (_STR, _MERGE):
            raise Invalid("flow_invalid", f"line {line}: a key here is not a text.", "Put it in quotes.")
        here = (*at, key.value)
        if here in lines:
            raise Invalid("flow_invalid", f"line {line}, {dotted(here)}: this key stands here twice.", "Keep one.")
        lines[here] = line
        _walk(value, here, lines)


_STR, _MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"


def dotted(at: At) -> str:
    """`tools.0.approval.group`, as messages name a key."""
    return ".".join(map(str, at))
