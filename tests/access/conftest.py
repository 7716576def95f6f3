"""The code host that repositories are cloned from."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.access.codehost import CodeHost, code_host
from tests.components import need_program


@pytest.fixture
def host(tmp_path: Path) -> Iterator[CodeHost]:
    need_program("git")
    with code_host(tmp_path) as running:
        for name in ("app", "docs", "secret"):
            running.make(name)
        yield running
