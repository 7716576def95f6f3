"""What LiteLLM's transforms leave to do: our bounds, what they lose put back or named, and proof that all arrived.

Pure. A body has nothing but the fields listed here. What was asked for and is not in it is named as dropped; a message
part that is missing is an error, never silence.
"""

from collections import defaultdict

from gateway.dialects import schemas
from gateway.dialects.messages import LEAST_THINKING
from gateway.dialects.params import AGAIN
from gateway.wires.documents import PDF, Document
from gateway.wires.neutral import Call, Image, Json, Request, Result
from gateway.wires.openai import UNNAMED
from kit.errors import Invalid

THOUGHTS = ("thinking", "redacted_thinking")
_MESSAGES = {
    "temperature": "temperature", "top_p": "top_p", "stop": "stop_sequences", "tools": "tools",
    "tool_choice": "tool_choice", "reasoning_effort": "thinking", "thinking": "thinking",
    "response_format": "output_config", "parallel_tool_calls": "tool_choice", "max_tokens": "max_tokens",
}  # fmt: skip
_GENERATION = {
    "temperature": "temperature", "top_p": "top_p", "stop": "stop_sequences", "seed": "seed",
    "presence_penalty": "presence_penalty", "frequency_penalty": "frequency_penalty",
    "reasoning_effort": "thinkingConfig", "thinking": "thinkingConfig", "response_format": "response_mime_type",
    "max_tokens": "max_output_tokens",
}  # fmt: skip
_SCHEMAS = ("response_schema", "responseSchema", "response_json_schema", "responseJsonSchema")
_RESOLUTION = "mediaResolution"
_FORCED = ("any", "tool")


def anthropic(body: Json, request: Request, asked: Json, max_output: int) -> tuple[Json, set[str]]:
    """A body for Messages, and what it does not carry."""
    known = {"model", "messages", "system", "output_config", *_MESSAGES.values()}
    body = {name: value for name, value in body.items() if name in known}
    body |= {"max_tokens": max_output} | ({"stream": True} if request.stream else {})
    dropped = _answering(body, request) | _offered(body, request)
    dropped |= {name for name in asked if _MESSAGES.get(name) not in body and asked[name] not in ("none", True)}
    if request.format and "format" not in body.get("output_config", {}):
        dropped.add("response_format")
    if asked.get("reasoning_effort") == "xhigh" and body.get("output_config", {}).get("effort") == "high":
        dropped.add("reasoning_effort")
    if any(tool.strict for tool in request.tools):
        dropped.add("strict")
    dropped |= _described(body.get("output_config", {}).get("format", {}), request)
    _mark(body, request)
    blocks = _blocks(body)
    for block, document in zip(blocks["document"], _documents(request), strict=False):
        named = {"title": document.name} if document.name else {}
        block |= named | ({"cache_control": dict(document.cached)} if document.cached else {})
    for block, result in zip(blocks["tool_result"], _results(request), strict=False):
        if result.failed:
            block["is_error"] = True
    _arrived(
        request,
        calls=blocks["tool_use"],
        results=blocks["tool_result"],
        images=blocks["image"],
        documents=blocks["document"],
    )
    return body, dropped | _thinking(body, max_output)


def gemini(body: Json, request: Request, asked: Json, max_output: int) -> tuple[Json, set[str]]:
    """A body for generateContent, and what it does not carry."""
    known = ("contents", "system_instruction", "tools", "toolConfig", "generationConfig")
    body = {name: value for name, value in body.items() if name in known}
    config = {
        name: value
        for name, value in body.get("generationConfig", {}).items()
        if name in (*_GENERATION.values(), *_SCHEMAS, _RESOLUTION)
    }
    _budgeted(config, max_output)
    body["generationConfig"] = config = config | {"max_output_tokens": max_output}
    elsewhere = {"tools": "tools", "tool_choice": "toolConfig"}
    dropped = {name for name in asked if name in elsewhere and elsewhere[name] not in body}
    dropped |= {name for name in asked if name not in elsewhere and _GENERATION.get(name) not in config}
    _declared(body, config, request)
    dropped -= {name for name in dropped if asked[name] is True}
    if "thinking" in asked and not {"thinkingBudget", "thinkingLevel"} & config.get("thinkingConfig", {}).keys():
        dropped.add("thinking")
    dropped |= _described(config, request) | _looked(body, request)
    if any(tool.strict for tool in request.tools) or _wanted(request).get("strict"):
        dropped.add("strict")
    if any(tool.cached for tool in request.tools):
        dropped.add("cache_control")
    if any(document.name for document in _documents(request)):
        dropped.add("filename")
    parts = _parts(body)
    for call in parts["function_call"]:
        (call.get("args") or {}).pop(AGAIN, None)
    shown: dict[bool, list[Json]] = {True: [], False: []}
    for blob in parts["inline_data"]:
        shown[blob.get("mime_type") == PDF].append(blob)
    _arrived(
        request,
        calls=parts["function_call"],
        results=parts["function_response"],
        images=shown[False],
        documents=shown[True],
    )
    return body, dropped


def _answering(body: Json, request: Request) -> set[str]:
    """Put the form of the answer where Anthropic has it."""
    if not (wanted := schemas.of_answer(request)):
        return set()
    form, less = schemas.answer(wanted)
    body["output_config"] = body.get("output_config", {}) | {"format": {"type": "json_schema", "schema": form}}
    return {"response_format.schema"} if less else set()


def _offered(body: Json, request: Request) -> set[str]:
    """Put the schemas of tools back into Anthropic's."""
    made = body.get("tools", ()) if request.tools else ()  # it offers one of its own where calls have no tool
    _same([tool["name"] for tool in made], request)
    dropped = set()
    for offered, tool in zip(made, request.tools, strict=True):
        offered["input_schema"], less = schemas.tool_input(dict(tool.parameters))
        dropped |= {"tools.parameters"} if less else set()
    return dropped


def _declared(body: Json, config: Json, request: Request) -> None:
    """Put all schemas back into Google's, as JSON Schema: a function without arguments has none."""
    made = [declared for tool in body.get("tools", ()) for declared in tool.get("function_declarations", ())]
    _same([tool["name"] for tool in made], request)
    for declared, tool in zip(made, request.tools, strict=True):
        declared.pop("parameters", None)
        if tool.parameters:
            declared["parametersJsonSchema"] = schemas.gemini(dict(tool.parameters))
    for name in _SCHEMAS:
        config.pop(name, None)
    if wanted := schemas.of_answer(request):
        config["response_json_schema"] = schemas.gemini(wanted)


def _same(names: list[str], request: Request) -> None:
    if names != [tool.name for tool in request.tools]:
        raise Invalid("not_translatable", "Of this request's tools some would be lost on the way.")


def _wanted(request: Request) -> Json:
    """The form of the answer that was asked for, if there is a schema of it."""
    return (request.format or {}).get("json_schema") or {}


def _described(holder: Json, request: Request) -> set[str]:
    """Put what is said of the answer's form into its schema, where there is room; what has none, by name."""
    wanted, dropped = _wanted(request), set()
    if wanted.get("name", UNNAMED) != UNNAMED:
        dropped.add("response_format.name")
    if description := wanted.get("description"):
        names = [name for name in ("schema", *_SCHEMAS) if isinstance(holder.get(name), dict)]
        for name in names:
            holder[name] = {"description": description} | holder[name]
        if not names or any(holder[name]["description"] != description for name in names):
            dropped.add("response_format.description")
    return dropped


def _looked(body: Json, request: Request) -> set[str]:
    """How closely pictures are to be looked at: said of each from Gemini 3 on, of all together before."""
    parts = [*request.parts]
    parts += [inner for result in _results(request) for inner in result.parts]
    wanted = {part.detail for part in parts if isinstance(part, Image)} - {None, "auto"}
    if not wanted:
        return set()
    each = any("media_resolution" in part for content in body["contents"] for part in content["parts"])
    together = len(wanted) == 1 and _RESOLUTION in body["generationConfig"]
    return set() if wanted <= {"low", "high"} and (each or together) else {"detail"}


def _mark(body: Json, request: Request) -> None:
    """Cache markers of tools, which stand in the order of the request."""
    for made, tool in zip(body.get("tools", ()), request.tools, strict=False):
        if tool.cached:
            made["cache_control"] = dict(tool.cached)


def _thinking(body: Json, max_output: int) -> set[str]:
    """Make the body one that Anthropic takes: what thinking excludes goes, or thinking does. What went, by name."""
    wanted = body.get("thinking") or {}
    dropped = set()
    if wanted.get("type") == "enabled":
        wanted["budget_tokens"] = min(wanted["budget_tokens"], max_output - 1)
        if wanted["budget_tokens"] < LEAST_THINKING or _unsigned(body["messages"]):
            dropped.add("thinking")
    if wanted and body.get("tool_choice", {}).get("type") in _FORCED:
        dropped.add("thinking")
    if dropped or wanted.get("type") not in ("enabled", "adaptive"):
        body.pop("thinking", None)
        return dropped | _forgotten(body)
    for name, least in (("temperature", 1), ("top_p", 0.95)):
        if body.get(name) is not None and body[name] < least:
            del body[name]
            dropped.add(name)
    return dropped


def _budgeted(config: Json, max_output: int) -> None:
    """Keep a budget of thoughts below the bound, which holds for them too; one that leaves no room goes."""
    if (config.get("thinkingConfig", {}).get("thinkingBudget") or 0) < max_output:
        return
    if max_output - 1 < LEAST_THINKING:
        del config["thinkingConfig"]
    else:
        config["thinkingConfig"] = config["thinkingConfig"] | {"thinkingBudget": max_output - 1}


def _unsigned(messages: list[Json]) -> bool:
    """Results come back to a turn whose thoughts are gone: it can't be thought on."""
    turns = [message for message in messages if message["role"] == "assistant"]
    answers = any(block["type"] == "tool_result" for block in messages[-1]["content"])
    return answers and bool(turns) and turns[-1]["content"][0].get("type") not in THOUGHTS


def _forgotten(body: Json) -> set[str]:
    """Thoughts, where the model is not to think: Anthropic may be sent none then."""
    dropped = set()
    for message in body["messages"]:
        if message["role"] == "assistant":
            kept = [block for block in message["content"] if block["type"] not in THOUGHTS]
            if len(kept) < len(message["content"]):
                message["content"] = kept
                dropped.add("reasoning")
    body["messages"] = [message for message in body["messages"] if message["content"]]
    return dropped


def _arrived(request: Request, **made: list[Json]) -> None:
    """Every call, result, picture and PDF of the conversation is in the body."""
    inner = [part for result in _results(request) for part in result.parts]
    expected = {
        "calls": sum(isinstance(part, Call) for part in request.parts),
        "results": len(_results(request)),
        "documents": len(_documents(request)),
        "images": sum(isinstance(part, Image) for part in [*request.parts, *inner]),
    }
    lost = [name for name, count in expected.items() if len(made[name]) != count]
    if lost:
        raise Invalid("not_translatable", f"Of this conversation {', '.join(lost)} would be lost on the way.")


def _documents(request: Request) -> list[Document]:
    return [part for part in request.parts if isinstance(part, Document)]


def _results(request: Request) -> list[Result]:
    return [part for part in request.parts if isinstance(part, Result)]


def _blocks(body: Json) -> dict[str, list[Json]]:
    """Anthropic's blocks by their type, those of results too."""
    found: dict[str, list[Json]] = defaultdict(list)
    waiting = [message["content"] for message in body["messages"]]
    for content in waiting:
        for block in content if isinstance(content, list) else ():
            found[block["type"]].append(block)
            if block["type"] == "tool_result":
                waiting.append(block["content"])
    return found


def _parts(body: Json) -> dict[str, list[Json]]:
    """What Gemini's parts hold, by name, those of results too."""
    found: dict[str, list[Json]] = defaultdict(list)
    waiting = [content["parts"] for content in body["contents"]]
    for parts in waiting:
        for part in parts:
            for name in ("function_call", "function_response", "inline_data"):
                if name in part:
                    found[name].append(part[name])
                    waiting.append(part[name].get("parts") or [])
    return found
