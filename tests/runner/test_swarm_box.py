"""The service as it is sent, against a kept copy; and its secret, as shells read it.

`PRELOOP_GOLDEN=1 pytest` writes the kept copies anew; what changed is then in the diff.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from kit.errors import Invalid
from runner import swarm_box as box
from tests.runner.clusters import job

GOLDEN = Path(__file__).parents[1] / "golden"
FULL = box.Swarm(
    network="agents",
    registry="registry.example.com/team",
    constraints=("node.labels.agents==yes", "node.role==worker"),
    grace_s=7.5,
)
BODIES = {
    "swarm-service": box.service(job(), box.Swarm(), secret_id="s3cr3t", network_id="n3tw0rk"),
    "swarm-service-full": box.service(
        job(cpus=0.25, memory_bytes=256 << 20), FULL, secret_id="s3cr3t", network_id="n3tw0rk"
    ),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_is_the_kept_one(name: str) -> None:
    path = GOLDEN / f"{name}.yaml"
    if os.environ.get("PRELOOP_GOLDEN"):
        path.write_text(yaml.safe_dump(json.loads(json.dumps(BODIES[name])), sort_keys=False))
    assert yaml.safe_load(path.read_text()) == BODIES[name]


@pytest.mark.parametrize("name", BODIES)
def test_a_service_holds_nothing_of_what_differs_from_run_to_run(name: str) -> None:
    told = json.dumps(BODIES[name])
    assert not [word for word in ("plb_secret", "BOOTSTRAP", "Pay the invoice") if word in told]


def test_a_service_is_never_tried_again_nor_when_it_was_stopped() -> None:
    body = BODIES["swarm-service-full"]
    stopped = box.stopped(body)
    for each in (body, stopped):
        assert each["Mode"] == {"Replicated": {"Replicas": 1}}
        assert each["TaskTemplate"]["RestartPolicy"] == {"Condition": "none"}
    assert stopped["TaskTemplate"]["Placement"]["Constraints"] == [box.NOWHERE]
    assert (box.is_stopped(body), box.is_stopped(stopped)) == (False, True)


def test_a_shell_makes_files_and_variables_of_the_secret_as_they_were(shell: list[str], tmp_path: Path) -> None:
    files = {
        "seed": b"\0\xff\\0000\\n'\n\n",
        "a/b/text": "it's\n$HOME `id` \\ %s é".encode(),
        "a/empty": b"",
        "-n": b"-e",
        "a b'c": b"odd",
    }
    env = {"QUOTED": "a 'b' \"$c\"\n\\", "EMPTY": ""}
    script = tmp_path / "secret"
    script.write_bytes(box.secret(job(files=files, env=env)))
    work = tmp_path / "work"
    work.mkdir()
    begin = f'. {script} && exec "$@"'
    told = 'printf "%s|%s|%s|%s" "$QUOTED" "$EMPTY" "$HOME" "$(umask)"'
    done = subprocess.run([*shell, "-c", begin, "agent", "sh", "-c", told], cwd=work, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode() == f"{env['QUOTED']}||/home/agent|0022"
    found = {str(path.relative_to(work)): path for path in work.rglob("*") if path.is_file()}
    assert {name: path.read_bytes() for name, path in found.items()} == files
    assert {path.stat().st_mode & 0o777 for path in found.values()} == {0o600}


def test_a_job_that_is_too_large_for_a_secret_is_refused() -> None:
    with pytest.raises(Invalid, match="a secret of a swarm holds 511999") as refused:
        box.secret(job(files={"event": b"x" * 512_000}))
    assert refused.value.code == "job_too_large"


def test_what_is_no_name_of_a_variable_is_refused() -> None:
    with pytest.raises(Invalid, match="not the name of a variable"):
        box.secret(job(env={"A=1; reboot #": "x"}))
