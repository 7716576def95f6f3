"""The tools of a Responses request: functions, custom tools, Codex's namespaces, and those that run at the provider.

Pure. A namespaced tool has a flat name everywhere else and is unfolded on the way back. What runs at the provider is
only named here, with the few settings that reach nothing but it: admission decides.
"""

import re
from collections.abc import Mapping

from gateway.wires.chat import CUSTOM
from gateway.wires.fields import objects, only, required, tool_name, typed, unsupported
from gateway.wires.neutral import Json, Tool
from gateway.wires.openai import chosen, grammar, texts
from kit.errors import Invalid

_OWN: Mapping[str, frozenset[str]] = {
    "function": frozenset({"type", "name", "description", "parameters", "strict", "defer_loading"}),
    "custom": frozenset({"type", "name", "description", "format", "defer_loading"}),
    "namespace": frozenset({"type", "name", "description", "tools"}),
    "tool_search": frozenset({"type", "execution", "description", "parameters"}),
}
_SEARCH = frozenset({
    "type", "search_context_size", "user_location", "filters", "external_web_access", "search_content_types",
})  # fmt: skip
_HOSTED: Mapping[str, frozenset[str]] = {
    "web_search": _SEARCH,
    "web_search_preview": _SEARCH,
    "code_interpreter": frozenset({"type", "container"}),
    "image_generation": frozenset({
        "type", "size", "quality", "background", "output_format", "output_compression", "moderation", "model",
    }),
    "mcp": frozenset({
        "type", "server_label", "server_url", "server_description", "allowed_tools", "require_approval",
    }),
    "computer_use_preview": frozenset({"type", "display_width", "display_height", "environment"}),
    "computer": frozenset({"type"}),
    "file_search": frozenset({"type"}),
}  # fmt: skip
_INSIDE: Mapping[str, frozenset[str]] = {
    "user_location": frozenset({"type", "city", "country", "region", "timezone"}),
    "filters": frozenset({"allowed_domains", "blocked_domains"}),
    "container": frozenset({"type", "memory_limit"}),
}
REMOTE = "mcp:"
"""Before the host of a remote MCP server: each is a tool of its own, which a flow lists by it."""
_DATED = re.compile(r"(web_search(?:_preview)?)_[0-9_]+", re.ASCII)


def tools_of(items: list[Json]) -> tuple[tuple[Tool, ...], tuple[str, ...], set[str]]:
    """The tools that the client runs, the names of those that the provider runs, and what a translation loses."""
    found: list[Tool] = []
    hosted: list[str] = []
    dropped: set[str] = set()
    for item in items:
        kind = required(item, "type", str)
        if name := _hosted(kind):
            _settings(item, name)
            hosted.append(remote(item) if name == "mcp" else name)
            continue
        if kind not in _OWN:
            raise unsupported(f"A tool of type {kind!r}")
        only(item, _OWN[kind], f"in a tool of type {kind!r}")
        if kind == "namespace":
            texts(item, "description")
            if item.get("description"):
                dropped.add("tools.namespace.description")
            found += [_tool(inner, tool_name(item), dropped) for inner in objects(item, "tools")]
        elif kind == "tool_search":  # it helps with tools that are not offered yet; a translation offers all
            texts(item, "execution", "description")
            typed(item, "parameters", dict)
            dropped.add("tools.tool_search")
        else:
            found.append(_tool(item, None, dropped))
    return tuple(found), tuple(hosted), dropped


def _tool(item: Json, namespace: str | None, dropped: set[str]) -> Tool:
    kind = required(item, "type", str)
    if kind not in ("function", "custom"):
        raise unsupported(f"A tool of type {kind!r} in a namespace")
    only(item, _OWN[kind], f"in a tool of type {kind!r}")
    own = tool_name(item)
    custom = kind == "custom"
    if typed(item, "defer_loading", bool):
        dropped.add("tools.defer_loading")
    grammar(item)
    if item.get("format"):
        dropped.add("tools.format")
    return Tool(
        name=flat(namespace, own),
        own=own,
        namespace=namespace,
        description=typed(item, "description", str) or "",
        parameters=CUSTOM if custom else typed(item, "parameters", dict) or {},
        strict=typed(item, "strict", bool),
        custom=custom,
    )


def remote(item: Json) -> str:
    """The name of a remote MCP server's tool: `mcp:` and the host in its address."""
    url: str = required(item, "server_url", str)
    if not url.startswith("https://"):
        raise Invalid("field_invalid", "A `server_url` must begin with https://.")
    return REMOTE + url.removeprefix("https://").partition("/")[0].lower()


def flat(namespace: str | None, own: str) -> str:
    return f"{namespace}__{own}" if namespace else own


def distinct(tools: tuple[Tool, ...]) -> tuple[Tool, ...]:
    """Refuse two tools of one name: a call could not be told apart."""
    if len({tool.name for tool in tools}) != len(tools):
        raise Invalid("field_invalid", "Two tools have the same name.")
    return tools


def choice_of(choice: str | Json | None, tools: tuple[Tool, ...]) -> tuple[str | None, tuple[Tool, ...], str | None]:
    """The choice, the tools it leaves, and the provider's tool that it names."""
    if choice is None:
        return None, tools, None
    if isinstance(choice, str):
        return chosen(choice), tools, None
    kind = required(choice, "type", str)
    names = {tool.own: tool.name for tool in reversed(tools)}
    if kind == "allowed_tools":
        only(choice, frozenset({"type", "mode", "tools"}), "in `tool_choice`")
        allowed = {_named(item, names) for item in objects(choice, "tools")}
        return chosen(required(choice, "mode", str)), tuple(tool for tool in tools if tool.name in allowed), None
    if name := _hosted(kind):
        only(choice, frozenset({"type"}), "in `tool_choice`")
        return None, tools, name
    return _named(choice, names), tools, None


def _named(item: Json, names: Mapping[str, str]) -> str:
    """The flat name; `names` leads to it from a tool's own, the first of several."""
    kind = required(item, "type", str)
    if kind not in ("function", "custom"):
        raise unsupported(f"A `tool_choice` of type {kind!r}")
    only(item, frozenset({"type", "name", "namespace"}), "in `tool_choice`")
    own, namespace = required(item, "name", str), typed(item, "namespace", str)
    if namespace:
        return flat(namespace, own)
    return names.get(own, str(own))


def _hosted(kind: str) -> str | None:
    """The name by which a flow lists it: dated previews are the same tool."""
    if kind in _HOSTED:
        return kind
    dated = _DATED.fullmatch(kind)
    return dated[1] if dated else None


def _settings(item: Json, name: str) -> None:
    """Its settings: no credential, no header, no id of something stored, at any depth."""
    if name == "file_search":
        raise unsupported("A search in stored files: nothing is stored on the server, so it")
    only(item, _HOSTED[name], f"in the tool {name!r}")
    if name == "code_interpreter" and required(item, "container", dict).get("memory_limit") not in (None, "1g"):
        raise unsupported("A container with more than 1g: it has another price than the one that is reserved, so it")
    for field, value in item.items():
        if field in _INSIDE and value is not None:
            only(required(item, field, dict), _INSIDE[field], f"in `{field}`")
            _flat_values(value)
    _flat_values({field: value for field, value in item.items() if field not in _INSIDE})


def _flat_values(settings: Json) -> None:
    for field, value in settings.items():
        single = value if isinstance(value, list) else [value]
        if any(isinstance(inner, dict | list) for inner in single):
            raise Invalid("field_invalid", f"The field `{field}` of a provider's tool has the wrong type.")
