"""A tool server over standard streams, as a program: run by its path. The tool's name says what it does."""

import json
import os
import subprocess
import sys
from typing import Any

TOOLS = ("echo", "environment", "numbered", "die", "huge", "family")


def answer(message: dict[str, Any], result: dict[str, Any]) -> None:
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)


def call(message: dict[str, Any]) -> None:
    name, arguments = message["params"]["name"], message["params"].get("arguments", {})
    if name == "die":
        sys.exit(1)
    if name == "numbered":
        units = os.environ["KEY"].encode("utf-16-be")
        text = "".join(f"\\u{units[at]:02X}{units[at + 1]:02X}" for at in range(0, len(units), 2))
        said = f'{{"content": [{{"type": "text", "text": "{text}"}}]}}'
        print(f'{{"jsonrpc": "2.0", "id": {json.dumps(message["id"])}, "result": {said}}}', flush=True)
        return
    text = {
        "echo": lambda: json.dumps(arguments, sort_keys=True),
        "environment": lambda: json.dumps(dict(os.environ)),
        "huge": lambda: "x" * (5 * 1024 * 1024),
        "family": lambda: str(subprocess.Popen(["sleep", "600"]).pid),
    }[name]()
    answer(message, {"content": [{"type": "text", "text": text}]})


def main() -> None:
    print(f"started as {os.getpid()}", file=sys.stderr, flush=True)
    for line in sys.stdin:
        message = json.loads(line)
        match message["method"]:
            case "initialize":
                info = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}}
                answer(message, info | {"serverInfo": {"name": "stdio", "version": str(os.getpid())}})
            case "tools/list":
                schema = {"type": "object"}
                answer(message, {"tools": [{"name": name, "inputSchema": schema} for name in TOOLS]})
            case "tools/call":
                call(message)
            case method if "id" in message:
                error = {"code": -32601, "message": f"no {method}"}
                print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "error": error}), flush=True)


main()
