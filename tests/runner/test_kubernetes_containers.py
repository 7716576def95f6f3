"""The two containers of a pod as real ones, as its manifest says, with a Secret laid out as a kubelet does.

The image has what their commands need, and the agent may write where it must.
"""

import os
from pathlib import Path
from typing import Any

import pytest

from runner import kubernetes_box as box
from runner.docker_box import UID
from tests.runner.clusters import job
from tests.runner.containers import docker

SCRIPT = """
cat .preloop/direct seed; rm .preloop/direct seed; mkfifo .preloop/pipe; mkdir work; touch work/it /tmp/it "$HOME/it"
ls -A . .preloop; touch /it 2>/dev/null || echo "read-only"; echo "$GIVEN"; id -u
"""


def laid_out(folder: Path, files: dict[str, bytes]) -> Path:
    """What differs lies in a folder with a time for a name; `..data` leads to it, and each top name to `..data`."""
    held = folder / "..2026_11_23"
    for path, content in files.items():
        target = held / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        target.chmod(0o640)
        if os.geteuid() == 0:
            os.chown(target, 0, UID)
    (folder / "..data").symlink_to(held.name)
    for top in dict.fromkeys(Path(path).parts[0] for path in files):
        (folder / top).symlink_to(f"..data/{top}")
    return folder


async def run(container: dict[str, Any], image: str, volumes: dict[str, Path], env: dict[str, str]) -> str:
    """With Docker, under what the manifest says of it."""
    held = container["securityContext"]
    assert (held["readOnlyRootFilesystem"], held["capabilities"]) == (True, {"drop": ["ALL"]})
    flags = ["--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--network=none", "--rm"]
    flags += [f"--user={UID}:{UID}", f"--workdir={container.get('workingDir', '/')}"]
    for mount in container["volumeMounts"]:
        mode = "ro" if mount.get("readOnly") else "rw"
        flags.append(f"--volume={volumes[mount['name']]}:{mount['mountPath']}:{mode}")
    flags += [f"--env={name}={value}" for name, value in env.items()]
    first, *rest = container["command"]
    return await docker("run", *flags, f"--entrypoint={first}", image, *rest)


@pytest.mark.docker
async def test_files_are_the_agents_and_nothing_else_is(box_image: str, tmp_path: Path) -> None:
    files = {".preloop/direct": b"a key\n", ".preloop/deep/er": b"", "seed": b"a seed\n"}
    made = job(argv=("sh", "-c", SCRIPT), files=files)
    spec = box.suspended_job(made, box.Cluster(), "")["spec"]["template"]["spec"]
    volumes = {"files": laid_out(tmp_path / "files", files)}
    for name in ("work", "home", "tmp"):
        volumes[name] = tmp_path / name
        volumes[name].mkdir()
        volumes[name].chmod(0o2777)  # as an emptyDir with fsGroup is
    assert await run(spec["initContainers"][0], box_image, volumes, {}) == ""
    env = {"HOME": "/home/agent", "GIVEN": "a value"}
    said = (await run(spec["containers"][0], box_image, volumes, env)).splitlines()
    assert said[:2] == ["a key", "a seed"]
    assert said[2:] == [".:", ".preloop", "work", "", ".preloop:", "deep", "pipe", "read-only", "a value", str(UID)]


@pytest.fixture
def box_image(box: str) -> str:
    return box
