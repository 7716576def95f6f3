"""Where the people's listener stands and by which names it answers. Composed in `preloop/settings`."""

from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator


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
