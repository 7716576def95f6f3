"""The agent of `show scale`: it prints, asks its model and pays, with Python's standard library alone, since hundreds
of them share two cores with what is shown.

What it does stands in its payload: `lines` over `seconds`, `calls` of the model `alias` in between, and in the middle
one payment of `amount` to `recipient`, where there is one. A connection that breaks or a plane that stops is asked
again, as any agent does.
"""

import http.client
import json
import os
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

PATIENCE_S = 150.0
PAUSE_S = 0.3
MODEL_S = 30.0
REVISION = "2026-07-28"
AGAIN = "Call the tool again with the same arguments"
EMPTY = 402
"""What the gateway answers when a budget has no room."""
META = {
    "io.modelcontextprotocol/protocolVersion": REVISION,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "scale", "version": "1"},
}


class Again(Exception):
    """Nobody who could answer was there."""


def say(text: str) -> None:
    print(text, flush=True)


def post(url: str, body: object, wait_s: float | None, **headers: str) -> tuple[int, str]:
    """Status and body; Again where a connection is refused, breaks off or says that it is the plane's fault."""
    at = urlsplit(url)
    wire = http.client.HTTPConnection(at.hostname or "", at.port, timeout=wait_s)
    told = {"authorization": f"Bearer {os.environ['PRELOOP_API_TOKEN']}", "content-type": "application/json", **headers}
    try:
        wire.request("POST", at.path, json.dumps(body), told)
        answer = wire.getresponse()
        status, text = answer.status, answer.read().decode()
    except (OSError, http.client.HTTPException) as error:
        raise Again from error
    finally:
        wire.close()
    if status >= 500:
        raise Again
    return status, text


def ask(alias: str, number: int) -> int:
    """One question to the model; the gateway's status. Each try is told apart, so that it can be counted."""
    url = f"{os.environ['OPENAI_BASE_URL']}/chat/completions"
    until, tries = time.monotonic() + PATIENCE_S, 0
    while True:
        text = f"{os.environ['PRELOOP_EXECUTION_ID']} call {number} try {tries}"
        body = {"model": alias, "messages": [{"role": "user", "content": text}], "max_tokens": 100}
        try:
            return post(url, body, MODEL_S)[0]
        except Again:
            if time.monotonic() > until:
                raise
            tries += 1
            time.sleep(PAUSE_S)


def pay(amount: float, recipient: str) -> str:
    """What came of it. The answer may take as long as a person does."""
    arguments = {"recipient": recipient, "amount": amount, "currency": "USD", "contract_id": "CONTRACT-2025-001"}
    return tell("tools/call", name="pay", arguments=arguments)


def tell(method: str, **params: object) -> str:
    """One MCP request of the revision that needs no session before it."""
    headers = {"accept": "application/json, text/event-stream", "mcp-protocol-version": REVISION, "mcp-method": method}
    headers |= {"mcp-name": str(params["name"])} if "name" in params else {}
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": META}}
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            status, text = post(os.environ["PRELOOP_MCP_URL"], body, None, **headers)
            events = [line.removeprefix("data:") for line in text.splitlines() if line.startswith("data:")]
            result = json.loads(events[-1] if events else text).get("result")
            if status == 200 and result is None:
                raise Again  # a stream that ended before its answer
            if AGAIN not in text:
                return " ".join(text.split())[-300:]
        except (Again, ValueError):
            if time.monotonic() > until:
                raise
        time.sleep(PAUSE_S)


def work(wanted: dict[str, object]) -> int:
    lines, seconds = int(str(wanted["lines"])), float(str(wanted["seconds"]))
    calls, alias = int(str(wanted["calls"])), str(wanted["alias"])
    empty = False
    tell("tools/list")
    for number in range(lines):
        say(f"line {number} of {lines}")
        for call in range(number * calls // lines, (number + 1) * calls // lines):
            if not empty:
                empty = ask(alias, call) == EMPTY
        if number == lines // 2 and "recipient" in wanted:
            say(f"pay answered: {pay(float(str(wanted['amount'])), str(wanted['recipient']))}")
        time.sleep(seconds / lines)
    say("the budget was empty" if empty else "all was answered")
    return 0


if __name__ == "__main__":
    sys.exit(work(json.loads(Path(os.environ["PRELOOP_PAYLOAD_FILE"]).read_text())))
