"""The tools of a Gemini request: functions that the client runs, and what runs at Google.

Pure. What runs there is only named here, with the few settings that reach nothing but it: admission decides.
"""

from collections.abc import Mapping

from gateway.wires.fields import objects, required, tool_name, typed, unsupported, words
from gateway.wires.gemini_spelling import fields, inner, json_schema
from gateway.wires.neutral import Json, Tool
from kit.errors import Invalid

_DECLARED = frozenset({
    "name", "description", "parameters", "parametersJsonSchema", "response", "responseJsonSchema", "behavior",
})  # fmt: skip
HOSTED: Mapping[str, frozenset[str]] = {
    "googleSearch": frozenset({"timeRangeFilter"}),
    "googleSearchRetrieval": frozenset({"dynamicRetrievalConfig"}),
    "urlContext": frozenset(),
    "codeExecution": frozenset(),
    "googleMaps": frozenset({"enableWidget"}),
    "computerUse": frozenset({"environment", "excludedPredefinedFunctions"}),
    "mcpServers": frozenset({"name", "streamableHttpTransport"}),
}
_STORED = "fileSearch"
_INSIDE: Mapping[str, frozenset[str]] = {
    "timeRangeFilter": frozenset({"startTime", "endTime"}),
    "dynamicRetrievalConfig": frozenset({"mode", "dynamicThreshold"}),
    "streamableHttpTransport": frozenset({"url"}),
}
_TOOL = frozenset({"functionDeclarations", _STORED, *HOSTED})
_CONFIG = frozenset({"functionCallingConfig", "retrievalConfig"})
_CALLING = frozenset({"mode", "allowedFunctionNames"})
_WHERE = frozenset({"latLng", "languageCode"})
_PLACE = frozenset({"latitude", "longitude"})
_MODES = {"": None, "MODE_UNSPECIFIED": None, "AUTO": "auto", "ANY": "required", "NONE": "none", "VALIDATED": "auto"}


def tools_of(items: list[Json]) -> tuple[tuple[Tool, ...], tuple[str, ...], set[str]]:
    """The tools that the client runs, the names of those that Google runs, and what a translation loses."""
    own: list[Tool] = []
    hosted: list[str] = []
    lost: set[str] = set()
    for item in items:
        fields(item, _TOOL, "in `tools`")
        own += [_declared(declared, lost) for declared in objects(item, "functionDeclarations")]
        if item.get(_STORED) is not None:
            raise unsupported("A search in stored files: nothing is stored on the server, so it")
        for name in HOSTED:
            if item.get(name) is not None:
                hosted.append(name)
                for settings in objects(item, name) if name == "mcpServers" else [required(item, name, dict)]:
                    _check(settings, name)
    if len({tool.name for tool in own}) != len(own):
        raise Invalid("field_invalid", "Two tools have the same name.")
    return tuple(own), tuple(hosted), lost


def choice_of(body: Json, tools: tuple[Tool, ...]) -> tuple[str | None, tuple[Tool, ...], set[str]]:
    """The choice, the tools it leaves, and what a translation loses."""
    config = inner(body, "toolConfig", _CONFIG) or {}
    if (where := inner(config, "retrievalConfig", _WHERE)) is not None:
        typed(where, "languageCode", str)
        for value in (inner(where, "latLng", _PLACE) or {}).values():
            typed({"latLng": value}, "latLng", int, float)
    calling = inner(config, "functionCallingConfig", _CALLING) or {}
    mode = typed(calling, "mode", str) or ""
    if mode.upper() not in _MODES:
        raise Invalid(
            "field_invalid", f"The mode {mode!r} is not known.", f"Known are: {', '.join(filter(None, _MODES))}."
        )
    choice = _MODES[mode.upper()]
    lost = {"retrievalConfig"} if where else set()
    if mode.upper() == "VALIDATED":
        lost.add("functionCallingConfig.mode")
    allowed = words(calling, "allowedFunctionNames")
    if allowed and mode.upper() in ("ANY", "VALIDATED"):
        tools = tuple(tool for tool in tools if tool.name in allowed)
    return choice, tools, lost


def _declared(item: Json, lost: set[str]) -> Tool:
    fields(item, _DECLARED, "in `functionDeclarations`")
    name = tool_name(item)
    if (typed(item, "behavior", str) or "BLOCKING").upper() not in ("BLOCKING", "UNSPECIFIED"):
        raise unsupported("A function that does not block (`behavior`)")
    plain, schema = typed(item, "parameters", dict), typed(item, "parametersJsonSchema", dict)
    if plain is not None and schema is not None:
        raise Invalid("field_invalid", "There are two schemas.", "Send `parameters` or `parametersJsonSchema`.")
    if typed(item, "response", dict) is not None or typed(item, "responseJsonSchema", dict) is not None:
        lost.add("tools.response")
    return Tool(
        name=name,
        own=name,
        description=typed(item, "description", str) or "",
        parameters=json_schema(plain) if plain is not None else schema or {},
    )


def _check(settings: Json, name: str) -> None:
    """Its settings: no credential, no header, no id of something stored, at any depth."""
    fields(settings, HOSTED[name], f"in `{name}`")
    for field in settings:
        values: Json = settings
        names = [field]
        if field in _INSIDE:
            values = inner(settings, field, _INSIDE[field]) or {}
            names = list(values)
        for inside in names:
            if inside == "excludedPredefinedFunctions":
                words(values, inside)
            else:
                typed(values, inside, str, int, float, bool)
