"""What an agent reads: tool results made from a call's row, and the sentences for calls that have none.

Errors a model should act on are `isError` results, never protocol errors, and each says whether to call again.
"""

import json
from collections.abc import Mapping
from typing import Any

from mcp_types import SERVER_INFO_META_KEY

from control.executions import toolcalls
from control.executions.toolcalls import REFUSED, Status

CALL = "preloop/call"
"""In `_meta` of our results: the id of the call's durable row."""
RECEIPT = "preloop/receipt"
"""In `_meta`: where the record tells how the call ended, {stream, seq, hash}; `preloop audit verify` checks it."""
TOLD = 2000
"""Characters of one line of the story."""

RESTARTING = (
    "The server is restarting. Call the tool again with the same arguments: nothing is lost and nothing runs twice."
)
OVER = "This run has ended; nothing is called for it any more."

COMPLETE = {"resultType": "complete"}
"""Required of every result at 2026-07-28; the SDK takes it off for the older revisions."""

Result = dict[str, Any]


def error(text: str) -> Result:
    return {"content": [{"type": "text", "text": text}], "isError": True}


def is_result(result: Mapping[str, Any]) -> bool:
    """Has this the shape of a tool's result? What the blocks hold is between the tool and the model."""
    if result.get("resultType") == "input_required":
        return True
    content = result.get("content")
    return isinstance(content, list) and all(isinstance(block, dict) and "type" in block for block in content)


def failed(name: str, why: str) -> str:
    return f"Tool '{name}' failed: {why}"


def not_reached(name: str, server: str, reason: str) -> str:
    return failed(name, f"the tool server '{server}' does not answer ({reason}). It was not called; try again later.")


def unknown(name: str, why: str | None = None) -> str:
    """`why` there is no answer, where that is known: no answer within 60 s."""
    cause = f" ({why.removesuffix('.')})" if why else ""
    return failed(
        name,
        f"it was sent and its answer was lost{cause}, so whether it happened is not known. "
        "Do not call it again before you or a person has looked.",
    )


def of(row: Mapping[str, Any]) -> Result | None:
    """The answer a row holds, or None while the call is open. `row` has the columns that `toolcalls.look` reads."""
    status = Status(row["status"])
    if status in (Status.SUCCEEDED, Status.FAILED):
        return _receipted(_recorded(row), row)
    if status in REFUSED:
        return _receipted(error(row["error"] or failed(row["name"], status.value)), row)
    return _receipted(error(unknown(row["name"], row["error"])), row) if status is Status.UNKNOWN else None


def _receipted(result: Result, row: Mapping[str, Any]) -> Result:
    """With its receipt, and with a word about arguments that a person changed."""
    if (receipt := toolcalls.receipt(row)) is not None:
        result = result | {"_meta": (result.get("_meta") or {}) | {RECEIPT: receipt}}
    if row.get("approved_args") and row["result"] is not None:
        note = f"Note: whoever approved this changed the arguments; it ran with {row['approved_args']}."
        result = result | {"content": [{"type": "text", "text": note}, *(result.get("content") or [])]}
    return result


def _recorded(row: Mapping[str, Any]) -> Result:
    """The upstream's own result with our `_meta`; what only concerns the hop to the upstream is left out."""
    if row["result"] is None:
        return error(row["error"] or failed(row["name"], "no answer"))
    result: Result = json.loads(row["result"])
    if result.get("resultType") == "complete":
        del result["resultType"]
    return result | {"_meta": theirs(result) | {CALL: row["id"]}}


def theirs(result: Mapping[str, Any]) -> dict[str, Any]:
    """An upstream's `_meta` without who it is."""
    return {key: value for key, value in (result.get("_meta") or {}).items() if key != SERVER_INFO_META_KEY}


def said(tool: str, result: Result) -> str:
    """An upstream's result as one line: its structure where it has one, else its text."""
    if result.get("resultType") == "input_required":
        return "the tool asks for input: " + shorten(", ".join(result.get("inputRequests") or {}))
    if "structuredContent" in result:
        return shorten(json.dumps(result["structuredContent"], ensure_ascii=False))
    texts = [str(block.get("text", f"[{block.get('type')}]")) for block in result.get("content") or []]
    return shorten(" ".join(texts).removeprefix(f"Error executing tool {tool}: "))  # the Python SDK's own prefix


def shorten(text: str) -> str:
    return text if len(text) <= TOLD else text[:TOLD] + "…"
