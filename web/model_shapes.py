"""What REST answers of model calls beside the ledger's entry. Forms are those of `shapes`."""

from typing import Literal

from pydantic import BaseModel


class Told(BaseModel):
    """What the record has of an attempt at a model, beside its entry in the ledger."""

    came_by: Literal["retry", "fallback"] | None
    """Why there was another one before it."""
    held_usd: str | None
    """What its budgets held for it when they let it pass; None where none counts it."""
    upstream_status: int | None
    """HTTP; None where the provider answered well, or not at all."""
    stage: str | None
    message: str | None
