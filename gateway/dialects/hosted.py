"""Tools that run at the provider: which are counted, how often one request may use them, and what an answer says.

Pure. By wire: such a tool is only for a provider that speaks as the client does. A use is what the provider bills: a
search, a grounded prompt, a container, a call of a remote server.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

from gateway.dialects.told import count, inner, objects
from gateway.wires.neutral import Json, Request
from gateway.wires.responses_tools import REMOTE, remote

MOST_USES = 5
"""Of all such tools together in one request, where the provider can be told a bound."""
SEARCHES = ("web_search", "web_search_preview", "googleSearch")
"""What a list price of a search is the price of."""
COUNTED: Mapping[str, tuple[str, ...]] = {
    "chat": ("web_search",),
    "responses": ("web_search", "web_search_preview", "code_interpreter", REMOTE),
    "messages": ("web_search",),
    "gemini": ("googleSearch", "urlContext"),
}
BOUNDED: Mapping[str, tuple[str, ...]] = {
    "responses": ("web_search", "web_search_preview", "code_interpreter"),
    "messages": ("web_search",),
}
"""Those that a provider keeps to a bound: `max_tool_calls` (which may leave remote servers out), `max_uses`."""
_PER_PROMPT = ("gemini-1", "gemini-2")
"""Google's models that are billed by the grounded prompt, not by the search: ai.google.dev/gemini-api/docs/pricing"""


def counted(wire: str, name: str) -> bool:
    """Does an answer on this wire tell how often the tool was used?"""
    known = COUNTED.get(wire, ())
    return name in known or (REMOTE in known and name.startswith(REMOTE))


def unbounded(wire: str, request: Request) -> str | None:
    """The first of a request's tools that runs as often as the provider likes."""
    return next((name for name in request.hosted if name not in BOUNDED.get(wire, ())), None)


def most(request: Request) -> int:
    """How often one request may use its tools together; the provider is told."""
    return min(MOST_USES, request.hosted_most or MOST_USES) if request.hosted else 0


def in_responses(output: object, request: Request) -> Mapping[str, int]:
    """Uses by name, in the items of a response: searches (opening a page is free), calls, containers."""
    found: Counter[str] = Counter()
    search = next((name for name in request.hosted if name.startswith("web_search")), "web_search")
    containers = set()
    for item in objects(output):
        match item.get("type"):
            case "web_search_call":
                found[search] += inner(item, "action").get("type") in (None, "search")
            case "mcp_call":
                found[_remote(item.get("server_label"), request)] += 1
            case "code_interpreter_call":
                containers.add(str(item.get("container_id") or item.get("id")))
    return _positive(found | Counter(code_interpreter=len(containers)))


def in_chat(usage: Json, request: Request) -> Mapping[str, int]:
    """Searches, where the provider counts them; OpenAI does not, and searches once for each answer."""
    told = count(inner(usage, "server_tool_use"), "web_search_requests")
    told = told or count(inner(usage, "prompt_tokens_details"), "web_search_requests")
    return {name: told or request.choices for name in request.hosted}


def in_messages(usage: Json) -> Mapping[str, int]:
    return _positive({"web_search": count(inner(usage, "server_tool_use"), "web_search_requests")})


def in_gemini(candidates: Iterable[Json], model: object) -> Mapping[str, int]:
    """Searches, or one for a prompt that was grounded where that is what is billed; pages that were read."""
    searches = pages = 0
    for candidate in candidates:
        queries = inner(candidate, "groundingMetadata").get("webSearchQueries")
        searches += len(queries) if isinstance(queries, list) else 0
        pages += len(objects(inner(candidate, "urlContextMetadata").get("urlMetadata")))
    if isinstance(model, str) and model.removeprefix("models/").startswith(_PER_PROMPT):
        searches = min(searches, 1)
    return _positive({"googleSearch": searches, "urlContext": pages})


def _remote(label: object, request: Request) -> str:
    """The tool whose call it is; one that was never offered counts as the first."""
    offered = [item for item in objects(request.body.get("tools")) if item.get("type") == "mcp"]
    named = {item.get("server_label"): remote(item) for item in reversed(offered)}
    return named.get(label) or next(iter(named.values()), REMOTE)


def _positive(found: Mapping[str, int]) -> Mapping[str, int]:
    return {name: uses for name, uses in found.items() if uses > 0}
