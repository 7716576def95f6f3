"""The providers' keys: from the settings, or from a file that is read again when it changed. Never written anywhere."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from gateway.settings import Upstream
from kit.errors import Unavailable
from kit.observe import log

LOOK_S = 1.0
"""How long a file is taken to be as it was."""


@dataclass(slots=True)
class _Read:
    key: str
    stamp: tuple[int, int, int]
    looked: float


class Keys:
    """All files that keys were read from."""

    def __init__(self) -> None:
        self._read: dict[Path, _Read] = {}

    def of(self, settings: Upstream) -> str | None:
        """The key as it is now; Unavailable when its file can't be read and never was."""
        if settings.api_key is not None:
            return settings.api_key.get_secret_value()
        return self._from(settings.api_key_file) if settings.api_key_file else None

    def _from(self, path: Path) -> str:
        known, now = self._read.get(path), time.monotonic()
        if known and now - known.looked < LOOK_S:
            return known.key
        try:
            found = os.stat(path)
            stamp = (found.st_ino, found.st_mtime_ns, found.st_size)
            if known is None or known.stamp != stamp:
                known = self._read[path] = _Read(path.read_text().strip(), stamp, now)
        except (OSError, UnicodeDecodeError) as error:
            if known is None:
                raise Unavailable("key_unreadable", "The key of this model can't be read.", "See the log.") from error
            log.error("a model's key file can't be read, the key read before is used", path=str(path))
        known.looked = now
        return known.key
