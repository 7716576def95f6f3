"""Where the people's listener stands and by which names it answers. Composed in `preloop/settings`."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from control.identity.principals import Role

Domain = Annotated[str, Field(pattern=r"^[a-z0-9-]+(\.[a-z0-9-]+)+$")]
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class OidcSettings(BaseModel):
    """`[server.oidc]`: an OpenID Connect provider that signs people in; needs the extra `oidc`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    issuer: str
    """As its discovery document spells it, letter by letter."""
    client_id: str = Field(pattern=r"^[!-~]+$")
    client_secret: SecretStr = SecretStr("")
    """Role `web` asks for it (`preloop/settings`); the others have no use for it."""
    label: str = Field(default="Sign in with single sign-on", min_length=1, max_length=60)
    """What the button says."""
    default_role: Role | None = None
    """Of people whom nobody added; without one they stay out."""
    roles_claim: str = ""
    """A claim of the id token, a text or a list of texts: with it the provider says at each sign-in what people are,"""
    roles: dict[str, Role] = {}
    """by these values of it; the strongest counts."""
    domains: tuple[Domain, ...] = ()
    """Of e-mail addresses that may come; without any, all may."""

    @field_validator("issuer")
    @classmethod
    def _dialled(cls, value: str) -> str:
        parts = urlsplit(value)
        safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
        if not safe or not parts.hostname or parts.username or parts.query or parts.fragment:
            raise ValueError("write it as https://accounts.example.com")
        return value

    @field_validator("client_secret")
    @classmethod
    def _sendable(cls, value: SecretStr) -> SecretStr:
        text = value.get_secret_value()
        if not text or not text.isascii() or not text.isprintable():
            raise ValueError("is empty, or holds what no client secret does")
        return value

    @model_validator(mode="after")
    def _whole(self) -> "OidcSettings":
        if bool(self.roles_claim) != bool(self.roles):
            raise ValueError("roles_claim and roles belong together")
        return self


class WebSettings(BaseModel):
    """`[server]` of preloop.toml, the part for people."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    public_url: str = ""
    """What people type and links begin with; empty means http://host:port."""
    hosts: tuple[str, ...] = ()
    """More names this listener answers to, without ports."""
    max_body_bytes: int = Field(default=1 << 20, gt=0)
    max_pending: int = Field(default=1000, gt=0)
    """Executions of one trigger that may wait; more deliveries are told to come again later."""
    deliveries_per_minute: int = Field(default=600, gt=0)
    """Of one trigger, in each process that serves `web`; so many may come at once."""
    oidc: OidcSettings | None = None

    @field_validator("public_url")
    @classmethod
    def _whole(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and (parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment):
            raise ValueError("write it as https://preloop.example.com")
        return value.rstrip("/")

    @property
    def url(self) -> str:
        """The origin that links begin with, without a slash at the end."""
        return self.public_url or f"http://{self.host}:{self.port}"

    @property
    def secure(self) -> bool:
        """Do people come by https? Then cookies are Secure and browsers are told to stay there."""
        return self.url.startswith("https://")

    @property
    def names(self) -> frozenset[str]:
        """The Host names to answer to; any port, since a proxy or a container may map it."""
        own = {"localhost", "127.0.0.1", "::1", self.host, urlsplit(self.url).hostname or ""}
        return frozenset(own | set(self.hosts)) - {""}
