"""What the gateway counts for `/metrics`. Labels are aliases, wires and statuses, never a session or a text."""

from kit.metrics import Counter, Gauge, Histogram
from ledger.book import Entry

REQUESTS = Counter("preloop_gateway_requests_total", "Requests at the model wires.", "wire", "status")
REFUSED = Counter(
    "preloop_gateway_refused_total", "Calls that were refused before a provider was asked.", "wire", "stage", "code"
)
ATTEMPTS = Counter(
    "preloop_model_attempts_total", "Attempts at models, by how they ended.", "wire", "alias", "provider", "status"
)
MOVES = Counter("preloop_model_moves_total", "Calls that went on after an attempt broke.", "alias", "move")
RUNNING = Gauge("preloop_model_calls_running", "Model calls under way.")
KEEP_ALIVES = Counter("preloop_model_keep_alives_total", "Pauses of models that were filled.", "wire")
BREAKER = Gauge("preloop_upstream_open", "1 while an upstream is left alone after failures.", "provider", "model")
FIRST = Histogram("preloop_model_first_token_seconds", "From the request to the first byte of an answer.", "alias")
TOTAL = Histogram("preloop_model_seconds", "From the request to the end of an answer.", "alias")
TOKENS = Counter("preloop_model_tokens_total", "Tokens, as the ledger has them.", "alias", "class")
COST = Counter("preloop_model_cost_nano_usd_total", "Billionths of a dollar, as the ledger has them.", "alias")


def count(entry: Entry) -> None:
    """One attempt that is over."""
    alias = entry.alias
    ATTEMPTS.add(entry.wire, alias, entry.provider, entry.status.value)
    if entry.first_token_ms is not None:
        FIRST.observe(entry.first_token_ms / 1000, alias)
    if entry.total_ms is not None:
        TOTAL.observe(entry.total_ms / 1000, alias)
    for name, tokens in (("input", entry.usage.total_input), ("output", entry.usage.total_output)):
        TOKENS.add(alias, name, by=tokens)
    if entry.cost_nano:
        COST.add(alias, by=entry.cost_nano)
