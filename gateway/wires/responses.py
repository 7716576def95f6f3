"""The OpenAI Responses wire: how it asks and how it hears no. Its answers are next door in `responses_face`.

Pure. A refusal is a 400: Codex shows its body as it is and does not ask again, where 402, 403 and 429 are retried or
lose our text (measured). Neighbours: `responses_items` reads the conversation, `responses_tools` the tools.
"""

from gateway.wires import openai
from gateway.wires.fields import objects, only, positive, required, typed, unsupported
from gateway.wires.neutral import HERE, Address, Json, Message, Request, compact
from gateway.wires.openai import format_of, pictures, sampling, standard_tier, text_parts, texts
from gateway.wires.responses_items import Conversation
from gateway.wires.responses_tools import choice_of, distinct, tools_of
from kit.errors import Fault, Invalid, Missing, Refused

FIELDS = frozenset([
    "model", "input", "instructions", "tools", "tool_choice", "parallel_tool_calls", "stream", "stream_options",
    "max_output_tokens", "temperature", "top_p", "reasoning", "text", "store", "include", "metadata",
    "client_metadata", "user", "prompt_cache_key", "prompt_cache_retention", "safety_identifier", "truncation",
    "service_tier", "previous_response_id", "conversation", "background", "prompt", "top_logprobs", "max_tool_calls",
])  # fmt: skip
KEPT_HERE = (
    "background", "client_metadata", "conversation", "metadata", "previous_response_id", "prompt", "safety_identifier",
    "user",
)  # fmt: skip
"""They speak in the operator's name, steer a proxy, or point to what a server stores: no provider is told."""
STORED = ("previous_response_id", "conversation", "background", "prompt")
NOT_PASSED_ON = (
    "client_metadata", "max_tool_calls", "metadata", "prompt_cache_key", "prompt_cache_retention",
    "safety_identifier", "service_tier", "top_logprobs", "truncation", "user",
)  # fmt: skip
ENCRYPTED = "reasoning.encrypted_content"
INCLUDED = frozenset({
    ENCRYPTED, "message.output_text.logprobs", "web_search_call.action.sources",
    "web_search_call.results", "code_interpreter_call.outputs", "computer_call_output.output.image_url",
    "file_search_call.results", "message.input_image.image_url",
})  # fmt: skip
_REASONING = frozenset({"effort", "summary", "generate_summary"})
_TEXT = frozenset({"format", "verbosity"})
_OPTIONS = frozenset({"include_obfuscation"})


def parse(body: Json, address: Address = HERE) -> Request:
    """An inbound body as a neutral request, checked to the bottom; Invalid names the field that is wrong."""
    only(body, FIELDS)
    for name in STORED:
        if body.get(name):
            raise unsupported(f"`{name}`: nothing is stored on the server, so it")
    _plain(body)
    standard_tier(body)
    talk = _conversation(body)
    tools, hosted, dropped = tools_of(objects(body, "tools"))
    named = {tool.name: tool for tool in tools}
    known = distinct((*tools, *(tool for tool in talk.tools if named.get(tool.name) != tool)))
    choice, offered, chosen = choice_of(typed(body, "tool_choice", str, dict), known)
    text = _inside(body, "text", _TEXT, "verbosity")
    messages = (*_instructions(body), *talk.messages)
    media, media_bytes = pictures(messages)
    return Request(
        alias=required(body, "model", str),
        messages=messages,
        tools=offered,
        tool_choice=choice,
        parallel_calls=typed(body, "parallel_tool_calls", bool),
        stream=bool(typed(body, "stream", bool)),
        max_output=positive(body, "max_output_tokens"),
        sampling=sampling(body),
        effort=_inside(body, "reasoning", _REASONING, *_REASONING).get("effort"),
        format=format_of(typed(text, "format", dict), "text.format"),
        hosted_most=positive(body, "max_tool_calls"),
        hosted=hosted if chosen is None or chosen in hosted else (*hosted, chosen),
        media=media,
        media_bytes=media_bytes,
        dropped=_dropped(body, text, dropped | talk.dropped),
        body=body,
    )


def _conversation(body: Json) -> Conversation:
    talk = Conversation()
    given = required(body, "input", str, list)
    if isinstance(given, str):
        talk.add("user", *text_parts(given))
        return talk
    for item in objects(body, "input"):
        talk.read(item)
    return talk


def _instructions(body: Json) -> tuple[Message, ...]:
    instructions = typed(body, "instructions", str)
    return (Message(role="system", parts=text_parts(instructions)),) if instructions else ()


def _plain(body: Json) -> None:
    """Fields that only a provider of this dialect reads: of the right type, and nothing else inside."""
    texts(body, "prompt_cache_key", "prompt_cache_retention", "safety_identifier", "truncation", "user")
    for name in ("metadata", "client_metadata"):
        typed(body, name, dict)
    typed(body, "store", bool)
    typed(body, "top_logprobs", int)
    typed(_inside(body, "stream_options", _OPTIONS), "include_obfuscation", bool)
    for name in typed(body, "include", list) or ():
        if not isinstance(name, str) or name not in INCLUDED:
            raise Invalid("field_not_allowed", f"The `include` of {name!r} is not allowed here.", "Leave it out.")


def _inside(body: Json, name: str, allowed: frozenset[str], *named: str) -> Json:
    """An object in the body, checked; absent is empty."""
    inner: Json = typed(body, name, dict) or {}
    only(inner, allowed, f"in `{name}`")
    texts(inner, *named)
    return inner


def _dropped(body: Json, text: Json, more: set[str]) -> tuple[str, ...]:
    found = {name for name in NOT_PASSED_ON if body.get(name)} | more
    if set(body.get("include") or ()) - {ENCRYPTED}:
        found.add("include")
    if text.get("verbosity"):
        found.add("text.verbosity")
    reasoning = body.get("reasoning") or {}
    if reasoning.get("summary") or reasoning.get("generate_summary"):
        found.add("reasoning.summary")
    if (body.get("stream_options") or {}).get("include_obfuscation"):
        found.add("stream_options.include_obfuscation")
    return tuple(sorted(found))


def refusal(fault: Fault) -> tuple[int, bytes]:
    """Status and body of a request that gets no answer."""
    status = 400 if type(fault) in (Invalid, Missing, Refused) else fault.status
    return status, compact(openai.error(fault)).encode()
