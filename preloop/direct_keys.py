"""The keys of `[models.<alias>.direct]`, read at the start. One that the gateway uses is never handed to an agent."""

from collections.abc import Callable, Iterator, Mapping

from pydantic import SecretStr

from control.flows.direct import BASES, Direct
from gateway.settings import ModelAlias, Upstream
from kit import redaction
from kit.errors import Invalid


def opened(models: Mapping[str, ModelAlias], variable: Callable[[str, str], str]) -> dict[str, Direct]:
    """By alias, each with its `key`. `variable` reads one of ours, for a setting."""
    upstreams = [upstream for model in models.values() for upstream in model.upstreams]
    values = {key for upstream in upstreams for key in _keys(upstream)}
    # a provider that only LiteLLM knows is asked with the key that it finds there itself
    others = [one for one in upstreams if one.provider not in BASES and not (one.api_key or one.api_key_file)]
    names = {f"{one.provider.upper()}_API_KEY" for one in others}
    found = {}
    for alias, model in models.items():
        if given := model.direct:
            where = f"models.{alias}.direct"
            key = _read(where, given, variable)
            if key in values or given.key_env in names:
                raise Invalid(
                    "settings_invalid",
                    f"{where} has a key that the gateway uses itself, and agents never get one of those.",
                    "Make another one at the provider, with a limit of its own there.",
                )
            found[alias] = given.model_copy(update={"key": SecretStr(key)})
    return found


def _keys(upstream: Upstream) -> Iterator[str]:
    if upstream.api_key:
        yield upstream.api_key.get_secret_value().strip()
    if upstream.api_key_file:
        try:
            yield upstream.api_key_file.read_text().strip()
        except (OSError, UnicodeDecodeError):
            return  # it can't be read now, and is not compared


def _read(where: str, given: Direct, variable: Callable[[str, str], str]) -> str:
    if given.key_env:
        key = variable(f"{where}.key_env", given.key_env)
    elif given.key_file:
        try:
            key = given.key_file.read_text()
        except (OSError, UnicodeDecodeError) as error:
            said = f"{where}.key_file names {given.key_file}, which can't be read: {error}."
            raise Invalid("settings_invalid", said) from error
    else:
        key = given.key.get_secret_value() if given.key else ""
    key = key.strip()
    if len(key) < redaction.SHORTEST or not key.isprintable():  # a shorter one would not be masked
        said = f"{where}: the key has less than {redaction.SHORTEST} characters, or more than one line."
        raise Invalid("settings_invalid", said)
    return key
