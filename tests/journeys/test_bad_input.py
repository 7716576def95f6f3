"""Bad input and a machine that can't: one clear sentence with a hint, the contract's exit code, nothing
half-written."""

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from preloop.database import filesystem, prepare_folder
from tests.databases import found
from tests.journeys.plane import FLOW, ROOT, Plane, config, plane
from tests.ports import free_port


def preloop(
    *arguments: str, data: Path, given: str = "", cwd: Path | None = None, **env: str
) -> subprocess.CompletedProcess[str]:
    """The command line, in a folder of its own."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("PRELOOP_")}
    if url := found(data):
        plain["PRELOOP_DATABASE"] = url
    return subprocess.run(
        [sys.executable, "-m", "preloop", *arguments],
        capture_output=True,
        text=True,
        input=given,
        cwd=cwd or Path(tempfile.gettempdir()),
        env=plain | {"PRELOOP_DATA": str(data), "PYTHONPATH": str(ROOT), "NO_COLOR": "1"} | env,
        timeout=90,
        check=False,
    )


def told(done: subprocess.CompletedProcess[str], code: int, *words: str) -> bool:
    """The exit code, one sentence with these words, a hint, no traceback?"""
    said = done.stderr
    clear = said.startswith("Error: ") and "Hint:" in said and "Traceback" not in said
    return done.returncode == code and clear and all(word in said for word in words)


async def nothing_was_made(running: Plane) -> None:
    assert (await running.get("/executions"))["items"] == []


async def test_what_a_person_can_get_wrong_against_a_running_plane(tmp_path: Path) -> None:
    async with plane(tmp_path) as (running, _):
        data = running.folder
        assert told(preloop("run", "no-such-flow", data=data), 2, "no flow 'no-such-flow'", "preloop flows list")
        not_json = tmp_path / "event.json"
        not_json.write_text("{amount: 1500")
        assert told(preloop("run", "process-payment", "--payload", str(not_json), data=data), 2, "not JSON")
        assert told(
            preloop("run", "process-payment", "--payload", "-", data=data, given='{"a":1,"a":2}'), 2, "same key twice"
        )
        async with running.http() as http:
            missing = await http.post("/api/v1/flows/no-such-flow/executions", json={"payload": {}})
            assert missing.status_code == 404 and missing.json()["hint"]
            unread = await http.post(
                "/api/v1/flows/process-payment/executions",
                content=b"{",
                headers={"content-type": "application/json"},
            )
            assert unread.status_code in (400, 422) and unread.json()["hint"]
        await nothing_was_made(running)


async def test_a_second_plane_in_the_same_folder_is_exit_5_and_the_first_stays_whole(shared_plane: Plane) -> None:
    done = preloop(
        "up",
        "--config",
        str(shared_plane.config),
        data=shared_plane.folder,
        PRELOOP_SERVER__PORT=str(free_port()),
        PRELOOP_SERVER__CONTAINER_PORT=str(free_port()),
    )
    assert told(done, 5, "Another control plane", "PRELOOP_DATA")
    assert preloop("flows", "list", data=shared_plane.folder).returncode == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("group: finance", "grp: finance"), ["line 16", "tools.0.approval.grp", "unknown key"]),
        (("timeout: 10m", "timeout: soon"), ["line 18", "tools.0.approval.timeout", "'soon'"]),
        (('budget_usd: "2.00"', "budget_usd: 2.00"), ["limits.budget_usd", "quotes"]),
        (("model: default}", "model: default, gateway: false}"), ["agent.gateway", "[models.default.direct]"]),
        (("group: finance", "group: treasury"), ["'treasury'", "finance"]),
        (("server: payments", "server: paymnts"), ["'paymnts'", "payments"]),
        (("{{trigger_event", "{{trigger event"), ["trigger event"]),
        (("args.amount > 100", "args.amount >"), ["args.amount >"]),
        (("version: 1", "version: ["), ["not YAML"]),
    ],
)
async def test_a_malformed_flow_file_names_its_line_and_key_and_saves_nothing(
    tmp_path: Path, shared_plane: Plane, change: tuple[str, str], words: list[str]
) -> None:
    before = await shared_plane.get("/flows/process-payment")
    file = tmp_path / "flow.yaml"
    file.write_text(FLOW.read_text().replace(*change))
    done = preloop("flows", "apply", str(file), data=shared_plane.folder)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    for word in words:
        assert word in done.stderr
    assert (await shared_plane.get("/flows/process-payment"))["version"] == before["version"]


def test_a_dead_docker_socket_is_exit_5(tmp_path: Path) -> None:
    settings = config(tmp_path, "http://127.0.0.1:9/mcp", engine="docker", more="")
    settings.write_text(
        settings.read_text().replace('engine = "docker"', 'engine = "docker"\ndocker_socket = "unix:///nowhere.sock"')
    )
    assert told(preloop("up", "--config", str(settings), data=tmp_path / "data"), 5, "Docker", "/nowhere.sock")
    assert not (tmp_path / "data").exists()


def test_a_port_in_use_is_exit_5_and_never_another_port(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = preloop("up", data=tmp_path / "data", PRELOOP_SERVER__PORT=str(port))
    assert told(done, 5, f"Port {port}", "in use")
    assert not (tmp_path / "data").exists()


def test_an_unwritable_data_folder_is_exit_5(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    done = preloop("up", data=tmp_path / "file" / "data", PRELOOP_SERVER__PORT=str(free_port()))
    assert told(done, 5, "can't be written", "PRELOOP_DATA")


def test_a_data_folder_on_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/vda / ext4 rw 0 0\nserver:/export {tmp_path}/nfs nfs4 rw 0 0\n")
    assert filesystem(tmp_path / "nfs" / "data", mounts) == "nfs4"
    assert filesystem(tmp_path / "local", mounts) == "ext4"
    prepare_folder(tmp_path / "local")


def test_without_a_plane_the_command_line_is_exit_4(tmp_path: Path) -> None:
    assert told(preloop("executions", "list", data=tmp_path / "data"), 4, "No control plane runs here", "preloop up")


def test_a_wrong_setting_names_its_key(tmp_path: Path) -> None:
    (tmp_path / "preloop.toml").write_text("[models.default]\nprovidr = 'openai'\n")
    assert told(preloop("up", data=tmp_path / "data", cwd=tmp_path), 2, "models.default.providr")
    assert not (tmp_path / "data").exists()
