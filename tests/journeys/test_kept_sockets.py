"""Somebody else holds our listening sockets: while no plane serves, nobody is refused, and the next one answers."""

import subprocess
import sys
from pathlib import Path

import anyio
import httpx

from tests.journeys.plane import HANDING, ROOT, kept_ports, plane


async def test_what_is_asked_while_nobody_serves_is_answered_by_the_next_plane(tmp_path: Path) -> None:
    with kept_ports() as ports:
        urls = [f"http://127.0.0.1:{ports[name].getsockname()[1]}/healthz" for name in ("people", "containers")]
        statuses: dict[str, int] = {}

        async def ask(url: str) -> None:
            async with httpx.AsyncClient(verify=False, trust_env=False, timeout=60) as http:
                statuses[url] = (await http.get(url)).status_code

        async with plane(tmp_path, ports=ports) as (running, _):
            for end in (running.kill, running.stop):
                await end()
                statuses.clear()
                async with anyio.create_task_group() as asking:
                    for url in urls:
                        asking.start_soon(ask, url)
                    await running.start()
                assert list(statuses[url] for url in urls) == [200, 404]  # each listener has its own routes


def test_sockets_at_an_address_that_the_settings_do_not_name_end_up_with_5(tmp_path: Path) -> None:
    with kept_ports() as ports:
        handing = [sys.executable, str(HANDING), f"people={ports['people'].fileno()}"]
        up = [sys.executable, "-m", "preloop", "up", "--data", str(tmp_path / "data"), "--port", "1"]
        fds = (ports["people"].fileno(),)
        done = subprocess.run([*handing, *up], cwd=ROOT, pass_fds=fds, capture_output=True, text=True, timeout=60)
    assert done.returncode == 5, done.stderr
    assert "the settings say 127.0.0.1:1" in " ".join(done.stderr.split())
    assert not (tmp_path / "data").exists()
