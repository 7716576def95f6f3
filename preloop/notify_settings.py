"""`[notify]`: the channels that messages leave by. Composed in `preloop/settings`."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

CONSOLE = "console"
UNTOLD = SecretStr("")
"""Of a secret that a process has no use for: role `web` alone needs them, and asks (`Settings.untold`)."""
HttpUrl = Annotated[str, Field(pattern=r"^https?://")]


def _is_http(url: SecretStr) -> SecretStr:
    if not url.get_secret_value().startswith(("http://", "https://")):
        raise ValueError("not an http address")
    return url


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class WebhookChannel(Strict):
    """`[notify.channels.<name>] type = "webhook"`: a signed webhook (Standard Webhooks)."""

    type: Literal["webhook"]
    url: HttpUrl
    secret: SecretStr = UNTOLD


class SlackChannel(Strict):
    """`type = "slack"`: an incoming webhook of Slack, Mattermost or whatever takes their messages; the address is the
    secret."""

    type: Literal["slack"]
    url: Annotated[SecretStr, AfterValidator(_is_http)] = UNTOLD


class NtfyChannel(Strict):
    """`type = "ntfy"`: `url` is the server's address and the topic, https://ntfy.example.com/approvals."""

    type: Literal["ntfy"]
    url: Annotated[SecretStr, AfterValidator(_is_http)] = UNTOLD
    token: SecretStr | None = None


class SmtpChannel(Strict):
    """`type = "smtp"`: mail to an approver's own address."""

    type: Literal["smtp"]
    host: str
    port: int = Field(default=587, ge=1, le=65535)
    security: Literal["starttls", "tls", "none"] = "starttls"
    """`none` sends in clear, for a relay on this machine."""
    sender: str = Field(pattern=r"^[^@\s]+@[^@\s]+$")
    username: str | None = None
    password: SecretStr | None = None


class AppriseChannel(Strict):
    """`type = "apprise"`: whatever else apprise can reach, by its addresses; needs the extra `apprise`."""

    type: Literal["apprise"]
    urls: Annotated[tuple[SecretStr, ...], Field(min_length=1, max_length=20)] = (UNTOLD,)


Channel = Annotated[
    WebhookChannel | SlackChannel | NtfyChannel | SmtpChannel | AppriseChannel, Field(discriminator="type")
]


class NotifySettings(Strict):
    """`[notify]`: the channels approvers may name beside `console`."""

    channels: dict[str, Channel] = {}
    private_hosts: tuple[str, ...] = ()
    """Hosts at private addresses that messages may go to."""
    on_end: tuple[str, ...] = ()
    """Channels of type webhook that are told of every execution that ended."""
