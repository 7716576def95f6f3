"""What one process of a control plane serves: everything (`up`), or some of its roles (`serve ROLE…`).

Roles find each other by their database alone. A worker alone in its data folder may say that the one before is dead;
doors may stand there more than once.
"""

from enum import StrEnum


class Role(StrEnum):
    WEB = "web"  # pages, REST, hooks; sends notices
    GATEWAY = "gateway"  # the model wires, on both listeners
    MCP = "mcp"  # the tool endpoint on both listeners, and what else containers may ask for
    RUNNER = "runner"  # starts and follows agents; one for each data folder


ALL = frozenset(Role)
