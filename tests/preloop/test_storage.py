"""`[storage]`: what may be written there, who never sees its secret, and what `preloop doctor` says of the store."""

import json
from pathlib import Path

import pytest

from control.executions import archive
from kit.errors import Invalid
from kit.objects import Address, Objects
from preloop.in_force import told
from preloop.known_secrets import known_secrets
from preloop.roles import ALL, Role
from preloop.settings import load
from preloop.storing import open_blobs
from tests.preloop.terminal import ROOT, Terminal
from tests.s3 import make_bucket

SECRET = "the-stores-secret-key"
FILE = """
[storage]
url = "s3://plane-1/kept/here"
endpoint = "https://minio.example:9000"
access_key_id = "AKIAEXAMPLE"
files_from = "5m"
"""


def test_a_secret_of_a_file_is_known_and_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text(f"{SECRET}\n")
    (tmp_path / "preloop.toml").write_text(FILE)
    monkeypatch.setenv("PRELOOP_STORAGE__SECRET_ACCESS_KEY_FILE", str(tmp_path / "key"))
    settings = load(config=tmp_path / "preloop.toml")
    shown = {each.key: (each.value, each.source) for each in told(settings)}
    assert SECRET in known_secrets(settings) and SECRET not in repr(shown)
    assert shown["storage.url"] == ("s3://plane-1/kept/here", "file")
    assert shown["storage.files_from"] == (5 << 20, "file")
    assert shown["storage.logs_from"] == (archive.LEAST, "default")
    assert shown["storage.secret_access_key"][1] == "environment"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('url = "https://bucket"', "storage.url"),
        ('url = "s3://bucket/../other"', "storage.url"),
        ('endpoint = "minio:9000"', "storage.endpoint"),
        ('endpoint = "https://minio/bucket"', "storage.endpoint"),
        ('logs_from = "0m"', "storage.logs_from"),
        ('files_from = "many"', "not a size"),
        ("files_from = -1", "storage.files_from"),
        ('bucket = "x"', "storage.bucket"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "preloop.toml").write_text(f"[storage]\n{line}\n")
    with pytest.raises(Invalid) as refused:
        load(config=tmp_path / "preloop.toml")
    assert said in refused.value.message


def test_only_roles_that_keep_content_have_a_store_and_only_with_a_url(tmp_path: Path) -> None:
    (tmp_path / "preloop.toml").write_text('[storage]\nurl = "s3://plane-1"\n')
    settings = load(config=tmp_path / "preloop.toml", data=tmp_path)
    assert [role for role in Role if open_blobs(settings, {role}).far] == [Role.WEB, Role.MCP, Role.RUNNER]
    assert open_blobs(load(data=tmp_path), ALL).far is None


@pytest.mark.parametrize("half", ['access_key_id = "AKIAEXAMPLE"', 'secret_access_key = "x"'])
def test_half_a_key_stops_who_opens_the_store_and_nobody_else(tmp_path: Path, half: str) -> None:
    (tmp_path / "preloop.toml").write_text(f'[storage]\nurl = "s3://plane-1"\n{half}\n')
    settings = load(config=tmp_path / "preloop.toml", data=tmp_path)
    assert open_blobs(settings, {Role.GATEWAY}).far is None
    for role in set(Role) - {Role.GATEWAY}:
        with pytest.raises(Invalid, match="set together"):
            open_blobs(settings, {role})


def terminal(folder: Path, store: Address, **more: str) -> Terminal:
    key = {"access_key_id": store.access_key_id, "secret_access_key": SECRET}
    told = {"url": f"s3://{store.bucket}/{store.prefix}", "endpoint": store.endpoint} | key
    named = {f"PRELOOP_STORAGE__{name.upper()}": value for name, value in told.items()}
    return Terminal(folder=folder, settings=named | {"PRELOOP_RUNNER__ENGINE": "process"} | more)


async def test_doctor_writes_reads_and_deletes(tmp_path: Path, bucket: Address) -> None:
    done = await terminal(tmp_path, bucket).run("doctor", "--json")
    [found] = [row for row in json.loads(done.out) if row["part"] == "object store"]
    assert found == {
        "part": "object store",
        "found": f"s3://{bucket.bucket}/kept/here: written, read, deleted",
        "hint": "",
    }
    assert [name async for names in Objects(bucket).names("doctor") for name in names] == []


async def test_doctor_says_what_is_wrong_with_a_store(tmp_path: Path, s3_server: str) -> None:
    missing = Address(bucket="nobody-made-it", endpoint=s3_server, access_key_id="x")
    for store, said in (
        (missing, "The object store has no such bucket."),
        (Address(bucket="any", endpoint="http://127.0.0.1:9", access_key_id="x"), "is out of reach"),
    ):
        done = await terminal(tmp_path, store).run("doctor", "--json")
        [found] = [row for row in json.loads(done.out) if row["part"] == "object store"]
        assert (done.code, said in found["found"]) == (1, True)
        assert store.endpoint in found["hint"] and SECRET not in done.out + done.err


async def test_without_the_extra_a_plane_does_not_start_and_says_what_to_install(
    tmp_path: Path, s3_server: str
) -> None:
    """As it is where boto3 was never installed."""
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "boto3.py").write_text("raise ModuleNotFoundError(\"No module named 'boto3'\")\n")
    bare = terminal(tmp_path, make_bucket(s3_server), PYTHONPATH=f"{tmp_path / 'without'}:{ROOT}")
    for command in ("up", "doctor"):
        done = await bare.run(command)
        assert "make extras" in " ".join((done.out + done.err).split())
        assert done.code == (5 if command == "up" else 1)
