"""The OpenAI Responses wire: how it asks and how it hears no. Its answers are next door in `responses_face`.

Pure. Codex folds MCP tools into namespaces; here they get flat names and are unfolded again on the way back. A refusal
is a 400: Codex shows its body as it is and does not ask again, where 402, 403 and 429 are retried or lose our text
(measured).
"""

from itertools import groupby

from gateway.wires import chat
from gateway.wires.neutral import (
    HERE,
    Address,
    Call,
    Json,
    Message,
    Request,
    Result,
    Tool,
    compact,
    objects,
    only,
    positive,
    required,
    sampling,
    text_parts,
    typed,
    unsupported,
)
from kit.errors import Fault, Invalid, Missing, Refused

FIELDS = frozenset([
    "model", "input", "instructions", "tools", "tool_choice", "parallel_tool_calls", "stream", "stream_options",
    "max_output_tokens", "temperature", "top_p", "reasoning", "text", "store", "include", "metadata",
    "client_metadata", "user", "prompt_cache_key", "prompt_cache_retention", "safety_identifier", "truncation",
    "service_tier", "previous_response_id", "conversation", "background",
])  # fmt: skip
NOT_PASSED_ON = (
    "include", "metadata", "client_metadata", "user", "prompt_cache_key", "prompt_cache_retention", "safety_identifier",
    "truncation",
)  # fmt: skip
CUSTOM = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
CALLS = ("function_call", "custom_tool_call")


def parse(body: Json, address: Address = HERE) -> Request:
    """An inbound body as a neutral request; Invalid names the field that is wrong."""
    only(body, FIELDS)
    for name in ("previous_response_id", "conversation", "background"):
        if body.get(name):
            raise unsupported(f"`{name}`: nothing is stored on the server, so it")
    if typed(body, "service_tier", str) not in (None, "auto", "default"):
        raise unsupported("A `service_tier` other than auto or default")
    tools, dropped_tools = _tools(objects(body, "tools"))
    messages, dropped_items = _messages(body)
    dropped = [name for name in NOT_PASSED_ON if body.get(name) is not None]
    return Request(
        alias=required(body, "model", str),
        messages=messages,
        tools=tools,
        tool_choice=_choice(typed(body, "tool_choice", str, dict), tools),
        parallel_calls=typed(body, "parallel_tool_calls", bool),
        stream=bool(typed(body, "stream", bool)),
        max_output=positive(body, "max_output_tokens"),
        sampling=sampling(body),
        effort=(typed(body, "reasoning", dict) or {}).get("effort"),
        format=_format((typed(body, "text", dict) or {}).get("format")),
        dropped=tuple(sorted({*dropped, *dropped_tools, *dropped_items})),
    )


def _messages(body: Json) -> tuple[tuple[Message, ...], set[str]]:
    found = []
    if instructions := typed(body, "instructions", str):
        found.append(Message(role="system", parts=text_parts(instructions)))
    if isinstance(body.get("input"), str):
        return (*found, Message(role="user", parts=text_parts(body["input"]))), set()
    items = objects(body, "input")
    dropped = {"reasoning"} if any(item.get("type") == "reasoning" for item in items) else set()
    found += [_message(item) for item in items if item.get("type") != "reasoning"]  # sealed for another provider
    return tuple(_joined(found)), dropped


def _message(item: Json) -> Message:
    kind = item.get("type", "message")
    if kind == "message":
        role = chat.ROLES.get(required(item, "role", str))
        if role is None or role == "tool":
            raise Invalid("field_invalid", f"The role {item['role']!r} is not known.")
        return Message(role=role, parts=text_parts(_text(item.get("content"))))  # type: ignore[arg-type]
    if kind in CALLS:
        return Message(role="assistant", parts=(_call(item, kind),))
    if kind in ("function_call_output", "custom_tool_call_output"):
        said = text_parts(_text(item.get("output")))
        return Message(role="tool", parts=(Result(call_id=required(item, "call_id", str), parts=said),))
    raise unsupported(f"An input item of type {kind!r}")


def _call(item: Json, kind: str) -> Call:
    name = flat(typed(item, "namespace", str), required(item, "name", str))
    if kind == "custom_tool_call":
        return Call(id=required(item, "call_id", str), name=name, arguments=compact({"input": item.get("input", "")}))
    return Call(id=required(item, "call_id", str), name=name, arguments=typed(item, "arguments", str) or "{}")


def _joined(messages: list[Message]) -> list[Message]:
    """Text and calls of one assistant turn are separate items on this wire and one message everywhere else."""
    found: list[Message] = []
    for role, group in groupby(messages, key=lambda message: message.role):
        turn = list(group)
        if role == "assistant":
            turn = [Message(role="assistant", parts=tuple(part for message in turn for part in message.parts))]
        found += turn
    return found


def _text(content: object) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise Invalid("field_invalid", "An item's content is neither text nor a list of parts.")
    found = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind not in ("input_text", "output_text", "text", "refusal"):
            raise unsupported(f"The content part {kind!r}")
        found.append(str(part.get("refusal" if kind == "refusal" else "text", "")))
    return "".join(found)


def _tools(items: list[Json]) -> tuple[tuple[Tool, ...], set[str]]:
    found: list[Tool] = []
    dropped: set[str] = set()
    for item in items:
        kind = item.get("type")
        if kind in ("function", "custom"):
            found.append(_tool(item, None))
        elif kind == "namespace":
            found += [_tool(inner, required(item, "name", str)) for inner in objects(item, "tools")]
        elif kind == "tool_search":  # the client's own; it only helps with tools that are not offered yet
            dropped.add("tool_search")
        else:
            raise unsupported(f"A tool of type {kind!r}")
    if len({tool.name for tool in found}) != len(found):
        raise Invalid("field_invalid", "Two tools have the same name.")
    return tuple(found), dropped


def _tool(item: Json, namespace: str | None) -> Tool:
    own = required(item, "name", str)
    custom = item.get("type") == "custom"
    return Tool(
        name=flat(namespace, own),
        own=own,
        namespace=namespace,
        description=typed(item, "description", str) or "",
        parameters=CUSTOM if custom else typed(item, "parameters", dict) or {},
        strict=typed(item, "strict", bool),
        custom=custom,
    )


def flat(namespace: str | None, own: str) -> str:
    return f"{namespace}__{own}" if namespace else own


def _choice(choice: str | Json | None, tools: tuple[Tool, ...]) -> str | None:
    if choice is None or isinstance(choice, str):
        return choice
    own = required(choice, "name", str)
    return next((tool.name for tool in tools if tool.own == own), str(own))


def _format(wanted: Json | None) -> Json | None:
    """`text.format` as Chat's `response_format`."""
    if wanted is None or wanted.get("type") == "text":
        return None
    if wanted.get("type") != "json_schema":
        return {"type": wanted.get("type")}
    inner = {name: wanted[name] for name in ("name", "schema", "strict", "description") if wanted.get(name) is not None}
    return {"type": "json_schema", "json_schema": inner}


def refusal(fault: Fault) -> tuple[int, bytes]:
    """Status and body of a request that gets no answer."""
    status = 400 if type(fault) in (Invalid, Missing, Refused) else fault.status
    return status, compact(chat.error(fault)).encode()
