"""A live server's process and how to command it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anyio.to_thread import run_sync

from bench import processes


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """A process of `bench/live_server`."""

    url: str
    cookie: str
    process: "subprocess.Popen[str]"

    @property
    def pid(self) -> int:
        return self.process.pid

    async def do(self, **asked: object) -> Any:  # noqa: ANN401 - a JSON value
        return await run_sync(self._do, asked)

    def _do(self, asked: object) -> object:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@contextmanager
def house(folder: Path) -> Iterator[House]:
    command = [sys.executable, "-m", "bench.live_server", str(folder)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=processes.ROOT, text=True) as process:
        try:
            assert process.stdout
            url, cookie = process.stdout.readline().split()
            yield House(url=url, cookie=cookie, process=process)
        finally:
            process.kill()
