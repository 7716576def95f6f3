"""Which engine is picked, and what is said when none is."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from kit.errors import Invalid, Unsuitable
from preloop.house import Place, host_address, open_engine
from preloop.roles import Role
from preloop.settings import Settings, load


def settings(tmp_path: Path, engine: str) -> Settings:
    """With a Docker that nobody answers for."""
    config = tmp_path / "preloop.toml"
    config.write_text(f'[runner]\nengine = "{engine}"\ndocker_socket = "unix://{tmp_path}/none.sock"\n')
    return load(config=config, data=tmp_path / "data")


async def picked(tmp_path: Path, engine: str) -> Place | str:
    async with AsyncExitStack() as stack:
        return await stack.enter_async_context(open_engine(settings(tmp_path, engine)))


@pytest.mark.bwrap
async def test_auto_takes_bubblewrap_where_no_docker_answers_and_says_so(tmp_path: Path) -> None:
    place = await picked(tmp_path, "auto")
    assert isinstance(place, Place)
    assert place.engine.name == "bwrap"
    assert "no network; memory is limited per process" in place.said


async def test_auto_never_takes_the_engine_that_isolates_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    place = await picked(tmp_path, "auto")
    assert isinstance(place, str)
    assert place.startswith("no engine: No Docker Engine answers")
    assert "There is no bubblewrap" in place


@pytest.mark.parametrize(("engine", "code"), [("docker", "docker_unreachable"), ("bwrap", "bwrap_missing")])
async def test_an_engine_that_was_named_and_is_dead_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str, code: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unsuitable) as refused:
        await picked(tmp_path, engine)
    assert refused.value.code == code


async def test_the_process_engine_is_told_as_what_it_is(tmp_path: Path) -> None:
    place = await picked(tmp_path, "process")
    assert isinstance(place, Place)
    assert "nothing isolates them" in place.said


@pytest.mark.parametrize("engine", ["auto", "docker", "bwrap", "process", "kubernetes", "swarm"])
@pytest.mark.parametrize("role", [Role.WEB, Role.GATEWAY, Role.MCP])
async def test_the_runner_alone_opens_an_engine(tmp_path: Path, role: Role, engine: str) -> None:
    told = settings(tmp_path, engine)
    async with open_engine(told, frozenset({role})) as place:
        assert place == "no engine: this process starts no agents."
    there = told.model_copy(update={"runner": told.runner.model_copy(update={"door": told.runner.network[2]})})
    doors = role is not Role.WEB and engine in {"auto", "docker"}
    assert host_address(told, {role}, place) == ("10.231.255.1" if doors else None)
    assert host_address(there, {role}, place) is None


async def test_a_swarm_that_does_not_answer_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(Unsuitable) as refused:
        await picked(tmp_path, "swarm")
    assert refused.value.code == "docker_unreachable"


def test_a_runtime_of_a_swarm_is_refused_as_settings_are_read(tmp_path: Path) -> None:
    config = tmp_path / "preloop.toml"
    config.write_text('[runner]\nengine = "swarm"\nruntime = "runsc"\n')
    with pytest.raises(Invalid, match="default-runtime of its nodes"):
        load(config=config, data=tmp_path / "data")
