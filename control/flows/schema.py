"""The JSON Schema of a flow file, for editors: made from the model that reads it, so that neither can lie about the
other. Pure."""

from typing import Any

from control.flows.flow import Flow

ABOUT = "What starts an agent, with which prompt, tools and limits. `preloop flows apply FILE` saves it."
DRAFT = "https://json-schema.org/draft/2020-12/schema"


def described(address: str) -> dict[str, Any]:
    """A whole file; `address` is where it is published."""
    return {"$schema": DRAFT, "$id": address, **Flow.model_json_schema(), "title": "Preloop flow", "description": ABOUT}
