"""The OpenAI Chat Completions wire: platform.openai.com/docs/api-reference/chat.

Pure. Errors use the statuses that this wire's clients do not retry: 402 for money, 400 and 404 for what asking again
can't change (measured with OpenCode and Copilot).
"""

from gateway.wires.neutral import (
    HERE,
    Address,
    Call,
    CallArguments,
    CallBegun,
    Counted,
    Delta,
    Json,
    Message,
    Reasoning,
    Request,
    Result,
    Stop,
    StopReason,
    Text,
    Tool,
    Wire,
    compact,
    objects,
    only,
    positive,
    required,
    said,
    sampling,
    sse,
    text_parts,
    typed,
    unsupported,
)
from kit.errors import Fault, Invalid, Missing, Refused
from ledger.prices import Usage

FIELDS = frozenset([
    "model", "messages", "tools", "tool_choice", "parallel_tool_calls", "stream", "stream_options", "max_tokens",
    "max_completion_tokens", "temperature", "top_p", "presence_penalty", "frequency_penalty", "seed", "stop",
    "response_format", "reasoning_effort", "n", "store", "metadata", "user", "prompt_cache_key",
    "prompt_cache_retention", "safety_identifier", "verbosity", "service_tier",
])  # fmt: skip
NOT_PASSED_ON = ("metadata", "user", "prompt_cache_key", "prompt_cache_retention", "safety_identifier", "verbosity")
ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool"}


def parse(body: Json, address: Address = HERE) -> Request:
    """An inbound body as a neutral request; Invalid names the field that is wrong."""
    only(body, FIELDS)
    if (typed(body, "n", int) or 1) != 1:
        raise unsupported("More than one choice (`n`)")
    if typed(body, "service_tier", str) not in (None, "auto", "default"):
        raise unsupported("A `service_tier` other than auto or default")
    options = typed(body, "stream_options", dict) or {}
    return Request(
        alias=required(body, "model", str),
        messages=tuple(_message(item) for item in objects(body, "messages")),
        tools=tuple(_tool(item) for item in objects(body, "tools")),
        tool_choice=_choice(typed(body, "tool_choice", str, dict)),
        parallel_calls=typed(body, "parallel_tool_calls", bool),
        stream=bool(typed(body, "stream", bool)),
        wants_usage=bool(options.get("include_usage")),
        max_output=positive(body, "max_completion_tokens", "max_tokens"),
        sampling=sampling(body),
        effort=typed(body, "reasoning_effort", str),
        format=typed(body, "response_format", dict),
        dropped=tuple(name for name in NOT_PASSED_ON if body.get(name) is not None),
    )


def _message(item: Json) -> Message:
    role = ROLES.get(required(item, "role", str))
    if role is None:
        raise Invalid("field_invalid", f"The role {item['role']!r} is not known.")
    calls = tuple(_call(call) for call in objects(item, "tool_calls"))
    said = text_parts(_content(item.get("content")))
    if role == "tool":
        return Message(role="tool", parts=(Result(call_id=required(item, "tool_call_id", str), parts=said),))
    return Message(role=role, parts=(*said, *calls))  # type: ignore[arg-type]


def _content(content: object) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise Invalid("field_invalid", "A message's `content` is neither text nor a list of parts.")
    found = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind not in ("text", "refusal"):
            raise unsupported(f"The content part {kind!r}")
        found.append(str(part.get(kind, "")))
    return "".join(found)


def _call(item: Json) -> Call:
    function = required(item, "function", dict)
    return Call(id=required(item, "id", str), name=required(function, "name", str), arguments=_arguments(function))


def _arguments(function: Json) -> str:
    return str(typed(function, "arguments", str) or "{}")


def _tool(item: Json) -> Tool:
    if item.get("type") != "function":
        raise unsupported(f"A tool of type {item.get('type')!r}")
    function = required(item, "function", dict)
    name = required(function, "name", str)
    return Tool(
        name=name,
        own=name,
        description=typed(function, "description", str) or "",
        parameters=typed(function, "parameters", dict) or {},
        strict=typed(function, "strict", bool),
    )


def _choice(choice: str | Json | None) -> str | None:
    if choice is None or isinstance(choice, str):
        return choice
    return str(required(required(choice, "function", dict), "name", str))


class ChatFace:
    """Renders one answer as chat.completion.chunk events or as one chat.completion."""

    def __init__(self, request: Request, attempt: str, created: int) -> None:
        self._request = request
        self._head = {"id": f"chatcmpl-{attempt}", "created": created, "model": request.alias}
        self._text: list[str] = []
        self._thought: list[str] = []
        self._calls: dict[str, Json] = {}
        self._usage = Usage()
        self._stop: StopReason = "stop"

    def begin(self) -> bytes:
        return self._chunk({"role": "assistant", "content": ""})

    def render(self, delta: Delta) -> bytes:
        match delta:
            case Text(text=text):
                self._text.append(text)
                return self._chunk({"content": text})
            case Reasoning(text=text):
                self._thought.append(text)
                return self._chunk({"reasoning_content": text})
            case CallBegun():
                return self._begun(delta)
            case CallArguments(id=id_, text=text):
                call = self._calls[id_]
                call["function"]["arguments"] += text
                return self._chunk({"tool_calls": [{"index": self._index(id_), "function": {"arguments": text}}]})
            case Counted(usage=usage):
                self._usage = usage
            case Stop(reason=reason):
                self._stop = reason
        return b""

    def end(self) -> bytes:
        last = self._chunk({}, finish=self._stop)
        if self._request.wants_usage:
            last += sse(self._head | {"object": "chat.completion.chunk", "choices": [], "usage": usage(self._usage)})
        return last + b"data: [DONE]\n\n"

    def fail(self, fault: Fault) -> bytes:
        return sse(error(fault)) + b"data: [DONE]\n\n"

    def body(self) -> bytes:
        message: Json = {"role": "assistant", "content": "".join(self._text) or None, "refusal": None}
        if self._thought:
            message["reasoning_content"] = "".join(self._thought)
        if self._calls:
            message["tool_calls"] = list(self._calls.values())
        choice = {"index": 0, "message": message, "finish_reason": self._stop, "logprobs": None}
        whole = {"object": "chat.completion", "choices": [choice], "usage": usage(self._usage)}
        return compact(self._head | whole).encode()

    def _begun(self, delta: CallBegun) -> bytes:
        function = {"name": delta.name, "arguments": ""}
        self._calls[delta.id] = {"id": delta.id, "type": "function", "function": function}
        call = {"index": self._index(delta.id), "id": delta.id, "type": "function", "function": dict(function)}
        return self._chunk({"tool_calls": [call]})

    def _index(self, id_: str) -> int:
        return list(self._calls).index(id_)

    def _chunk(self, delta: Json, finish: StopReason | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return sse(self._head | {"object": "chat.completion.chunk", "choices": [choice]})


def usage(used: Usage) -> Json:
    return {
        "prompt_tokens": used.total_input,
        "completion_tokens": used.total_output,
        "total_tokens": used.total_input + used.total_output,
        "prompt_tokens_details": {"cached_tokens": used.cache_read},
        "completion_tokens_details": {"reasoning_tokens": used.reasoning},
    }


def error(fault: Fault) -> Json:
    """OpenAI's error object; our sentence is its message, our code its code."""
    return {"error": {"message": said(fault), "type": kind(fault), "param": None, "code": fault.code}}


def kind(fault: Fault) -> str:
    if fault.code == "budget_exceeded":
        return "insufficient_quota"
    if fault.status == 429:
        return "rate_limit_error"
    return "server_error" if fault.status >= 500 else "invalid_request_error"


def refusal(fault: Fault) -> tuple[int, bytes]:
    """Status and body of a request that gets no answer."""
    return _status(fault), compact(error(fault)).encode()


def _status(fault: Fault) -> int:
    if fault.code == "budget_exceeded":
        return 402
    kinds: dict[type[Fault], int] = {Invalid: 400, Missing: 404, Refused: 403}
    return kinds.get(type(fault), fault.status)


CHAT = Wire(name="chat", parse=parse, face=ChatFace, refusal=refusal)
