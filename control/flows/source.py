"""Flow files as people write them, in YAML (JSON is YAML too) or TOML: strictly in, tidily out. Pure.

Whatever is wrong with a file is told with its line and its key.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from pydantic import BaseModel, ValidationError

from control.flows import toml_file, yaml_file
from control.flows.flow import Flow
from control.flows.yaml_file import DEEPEST, FLATTER, At, Lines, dotted
from kit import canonical
from kit.errors import Invalid

Syntax = Literal["yaml", "toml"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A flow, the file's own values behind it, and where they stand."""

    flow: Flow
    body: Mapping[str, Any]
    lines: Lines

    @property
    def stored(self) -> str:
        """What is kept: the file's own values as canonical JSON, so that it can be exported as it was written."""
        return canonical.dumps(self.body)

    def where(self, *at: str | int) -> str:
        """`line 4, agent.model`, as errors and warnings begin."""
        return _where(self.lines, at)


def read(text: str, syntax: Syntax = "yaml") -> Written:
    """A flow from its file, or Invalid."""
    body, lines = toml_file.load(text) if syntax == "toml" else yaml_file.load(text)
    if not isinstance(body, dict) or not body:
        raise Invalid("flow_invalid", "The flow file is empty or not a mapping.", "It begins with `version: 1`.")
    _plain(body, (), lines)
    try:
        flow = Flow.model_validate_json(canonical.dumps(body), strict=True)  # what JSON has, nothing read as something
    except ValidationError as error:
        raise _explained(error, body, lines) from error
    return Written(flow=flow, body=body, lines=lines)


def parse(text: str) -> Flow:
    """The flow alone, of a YAML file."""
    return read(text).flow


def dump(body: Mapping[str, Any], syntax: Syntax = "yaml") -> str:
    """A file that `read` takes, keys in the order of the reference. What is null is left out: it is the default."""
    tidy = _tidy(body, Flow)
    return toml_file.dump(tidy) if syntax == "toml" else yaml_file.dump(tidy)


def diff(before: Mapping[str, Any] | None, after: Mapping[str, Any], was: str, will: str) -> str:
    """What changes between two files, as a unified diff of how we write them; '' when nothing does."""
    old, new = (dump(body).splitlines() if body else [] for body in (before, after))
    return "\n".join(difflib.unified_diff(old, new, was, will, lineterm="", n=3))


def _tidy(value: Any, model: type[BaseModel] | None) -> Any:  # noqa: ANN401 - a JSON value
    if isinstance(value, list | tuple):
        return [_tidy(item, model) for item in value]
    if not isinstance(value, Mapping) or model is None:
        return value
    order = {name: number for number, name in enumerate(model.model_fields)}
    keys = sorted((key for key in value if value[key] is not None), key=lambda key: order.get(key, len(order)))
    return {key: _tidy(value[key], _model(model, key)) for key in keys}


def _model(model: type[BaseModel], key: str) -> type[BaseModel] | None:
    """The part of a flow that a key holds, or holds many of."""
    field = model.model_fields.get(key)
    return _part(field.annotation) if field else None


def _part(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _part(inner))), None)


def _plain(value: object, at: At, lines: Lines) -> None:
    """JSON and nothing else: no dates, sets, bytes or infinities, and not too deep for whoever reads it later."""
    if len(at) > DEEPEST:
        raise Invalid("flow_invalid", f"line {lines.get(at[:1], 1)}, {at[0]}: this is nested too deeply.", FLATTER)
    if isinstance(value, dict):
        for key, item in value.items():
            _plain(key, (*at, key), lines)
            _plain(item, (*at, key), lines)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            _plain(item, (*at, number), lines)
    elif not isinstance(value, str | int | float | None):
        kind = type(value).__name__
        raise Invalid("flow_invalid", f"{_where(lines, at)}: a {kind} is no value here.", "Put it in quotes.")
    else:
        try:
            canonical.check(value)
        except Invalid as error:
            raise Invalid("flow_invalid", f"{_where(lines, at)}: {error.message}", error.hint) from error


def _explained(error: ValidationError, body: Mapping[str, Any], lines: Lines) -> Invalid:
    first = min(error.errors(include_url=False), key=lambda found: found["type"] != "extra_forbidden")
    at = _in_file(first["loc"], body)
    said = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(at[-1]), _words(), n=1)
        said = "an unknown key" + (f"; is `{near[0]}` meant?" if near and near[0] != at[-1] else "")
    more = f" ({error.error_count() - 1} more)" if error.error_count() > 1 else ""
    ends = "" if said.endswith("?") and not more else "."
    return Invalid(
        "flow_invalid", f"{_where(lines, at)}: {said}{more}{ends}", "/api/flow.schema.json describes a whole file."
    )


def _in_file(loc: At, body: object) -> At:
    """A validator's path without what is not in the file, such as the member of a union."""
    at: list[str | int] = []
    for number, part in enumerate(loc):
        if (isinstance(body, dict) and part in body) or (
            isinstance(body, list) and isinstance(part, int) and part < len(body)
        ):
            body = body[part]  # type: ignore[index]  # one of both
        elif number < len(loc) - 1 or not isinstance(body, dict):
            continue
        at.append(part)
    return tuple(at)


def _words(model: type[BaseModel] = Flow) -> list[str]:
    """Every key there is, in any part of a flow."""
    parts = [part for field in model.model_fields.values() if (part := _part(field.annotation))]
    return sorted({*model.model_fields, *(word for part in parts for word in _words(part))})


def _where(lines: Lines, at: At) -> str:
    """The line of the deepest value on a path that the file has, and the whole path."""
    line = next((lines[at[:end]] for end in range(len(at), 0, -1) if at[:end] in lines), 1)
    return f"line {line}, {dotted(at)}"
