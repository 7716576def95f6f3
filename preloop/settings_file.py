"""preloop.toml as a source of settings. What they mean is next door in `settings`."""

import tomllib
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from kit.errors import Invalid


class File(PydanticBaseSettingsSource):
    """preloop.toml: the one `PRELOOP_CONFIG` names, else the one in this folder if there is one."""

    def __init__(self, settings_cls: type[BaseSettings], named: str | None) -> None:
        super().__init__(settings_cls)
        self._named = named

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        path = Path(self.current_state.get("config") or self._named or "preloop.toml")
        if not path.exists():
            if self._named or self.current_state.get("config"):
                raise Invalid("settings_invalid", f"There is no file {path}.", "PRELOOP_CONFIG or --config names it.")
            return {}
        try:
            return tomllib.loads(path.read_text())
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise Invalid("settings_invalid", f"{path} can't be read: {error}.", "It is TOML.") from error
