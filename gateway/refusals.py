"""Refusals that only the gateway has."""

from kit.errors import Fault


class Limited(Fault):
    """Too many calls at once or in a minute; after so many seconds there is room again."""

    status = 429

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__("rate_limited", message, "Ask again later, or raise the limit in the settings of the alias.")
        self.retry_after_s = retry_after_s
