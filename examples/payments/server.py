"""A small payments tool server, to copy from: MCP over streamable HTTP, and nothing in it knows Preloop.

    python examples/payments/server.py --port 8090 --journal payments.jsonl

Two tools: `pay` moves (pretended) money and writes each payment to a journal, `get_contract` looks one up. Preloop, in
front of it, decides who may call what and asks a person; this server just does what it is told, once per call.
"""

import argparse
import json
import re
import secrets
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import anyio
import uvicorn
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import BaseModel, Field

EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")

CONTRACTS = {
    "CONTRACT-2025-001": {"contractor": "contractor@example.com", "amount": 1500.0, "currency": "USD"},
    "CONTRACT-2025-002": {"contractor": "designer@example.com", "amount": 80.0, "currency": "USD"},
}


class Payment(BaseModel):
    """What `pay` answers; the SDK publishes it as the tool's output schema."""

    transaction_id: str
    status: Literal["completed"]


class Contract(BaseModel):
    contract_id: str
    contractor: str
    amount: float
    currency: str


def build(journal: Path) -> MCPServer:
    """The server with its two tools. Payments are appended to `journal`, one JSON object a line."""
    server = MCPServer("payments", version="1.0.0", log_level="WARNING")

    @server.tool()
    def pay(
        recipient: Annotated[str, Field(description="E-mail address of the person to pay")],
        amount: Annotated[float, Field(gt=0, description="How much, in units of the currency")],
        currency: Annotated[str, Field(description="ISO 4217 code")] = "USD",
        contract_id: Annotated[str | None, Field(description="The contract this payment is for")] = None,
    ) -> Payment:
        """Send money to a contractor."""
        if not EMAIL.fullmatch(recipient):
            raise ToolError("Invalid recipient email address")
        if contract_id is not None and contract_id not in CONTRACTS:
            raise ToolError(f"There is no contract {contract_id}")
        payment = Payment(transaction_id=f"tx_{secrets.token_hex(6)}", status="completed")
        line = {
            "at": datetime.now(UTC).isoformat(),
            "transaction_id": payment.transaction_id,
            "recipient": recipient,
            "amount": amount,
            "currency": currency,
            "contract_id": contract_id,
        }
        with journal.open("a") as file:
            file.write(json.dumps(line) + "\n")
        return payment

    @server.tool()
    def get_contract(contract_id: str) -> Contract:
        """Look up what was agreed with a contractor."""
        if contract_id not in CONTRACTS:
            raise ToolError(f"There is no contract {contract_id}")
        return Contract.model_validate({"contract_id": contract_id, **CONTRACTS[contract_id]})

    return server


async def serve(host: str, port: int, journal: Path) -> None:
    """Serve until SIGTERM or Ctrl-C. The first line on stdout is the URL to connect to, also for port 0."""
    listener = socket.socket(
        socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP
    )  # named, so that asyncio sets NODELAY
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    app = build(journal).streamable_http_app(host=host)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2))
    print(f"http://{host}:{listener.getsockname()[1]}/mcp", flush=True)
    await server.serve(sockets=[listener])


def main() -> None:
    options = argparse.ArgumentParser(description="A small payments tool server.")
    options.add_argument("--host", default="127.0.0.1")
    options.add_argument("--port", type=int, default=8090, help="0 takes a free one")
    options.add_argument("--journal", type=Path, default=Path("payments.jsonl"))
    chosen = options.parse_args()
    anyio.run(serve, chosen.host, chosen.port, chosen.journal)


if __name__ == "__main__":
    main()
