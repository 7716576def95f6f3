"""The few settings of commands that ask a plane or show one: apart from `settings`, which brings every room along."""

from pathlib import Path
from typing import Literal

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class ClientSettings(BaseSettings):
    """How the command line finds a plane that is not on this machine."""

    model_config = SettingsConfigDict(env_prefix="PRELOOP_", extra="ignore", frozen=True)

    data: Path = Path(".preloop")
    url: str | None = None
    token: SecretStr | None = None


class DemoSettings(BaseSettings):
    """`DEMO_YES=1` approves by itself, `DEMO_ENGINE=docker` runs the agent in a container."""

    model_config = SettingsConfigDict(env_prefix="DEMO_", extra="ignore", frozen=True)

    yes: bool = False
    engine: Literal["process", "docker"] = "process"
