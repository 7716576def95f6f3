"""Whether anything is traced, by preloop.toml and by OpenTelemetry's variables."""

import builtins
from pathlib import Path
from types import ModuleType

import pytest

from kit.errors import Invalid, Unsuitable
from kit.traces import Context
from preloop.known_secrets import known_secrets
from preloop.roles import ALL
from preloop.settings import load
from preloop.telemetry import open_exporter
from preloop.tracing import Sends

SETTINGS = '[telemetry]\nendpoint = "http://127.0.0.1:1"\nheaders = {api-key = "${KEY}"}\n'


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)


def opened(folder: Path, text: str) -> Sends | None:
    path = folder / "preloop.toml"
    path.write_text(text)
    return open_exporter(load(config=path), ALL, "plane")


def kept(sends: Sends | None) -> float:
    """Which part of the traces that nobody else began is kept."""
    assert sends is not None
    sends.close(0)
    step = 2**64 // 100
    return sum(sends.keeps(Context(trace=number * step)) for number in range(100)) / 100


def test_nothing_is_traced_unless_somebody_says_where_to(tmp_path: Path) -> None:
    assert opened(tmp_path, "") is None
    assert opened(tmp_path, "[telemetry]\nsample = 0.5\n") is None


@pytest.mark.parametrize(
    ("text", "variables", "part"),
    [
        (SETTINGS, {}, 1),
        (SETTINGS + "sample = 0.25\n", {"OTEL_TRACES_SAMPLER": "always_off"}, 0.25),
        ("", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, 1),
        (SETTINGS, {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.5"}, 0.5),
        (SETTINGS, {"OTEL_TRACES_SAMPLER": "always_off"}, 0),
    ],
)
def test_the_part_that_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, variables: dict[str, str], part: float
) -> None:
    for name, value in ({"KEY": "k"} | variables).items():
        monkeypatch.setenv(name, value)
    assert kept(opened(tmp_path, text)) == pytest.approx(part, abs=0.011)


def test_what_the_caller_says_of_its_own_trace_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "k")
    sends = opened(tmp_path, SETTINGS + "sample = 0.0\n")
    assert sends is not None
    sends.close(0)
    assert [sends.keeps(Context(trace=1, parent=1, sampled=said)) for said in (True, False, None)] == [
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("variables", [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"}])
def test_the_variables_that_end_all_traces_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert opened(tmp_path, SETTINGS) is None


def test_a_ratio_that_is_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"KEY": "k", "OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "much"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Invalid, match="OTEL_TRACES_SAMPLER_ARG"):
        opened(tmp_path, SETTINGS)


def test_a_header_is_a_secret_that_no_stored_line_may_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "collectors-key")
    path = tmp_path / "preloop.toml"
    path.write_text(SETTINGS)
    assert "collectors-key" in known_secrets(load(config=path))
    monkeypatch.delenv("KEY")
    with pytest.raises(Invalid, match=r"telemetry\.headers\.api-key names the variable KEY"):
        open_exporter(load(config=path), ALL, "plane")


def test_without_the_extra_only_settings_of_ours_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *more: object) -> ModuleType:
        if name.startswith(("kit.otlp", "opentelemetry.sdk")):
            raise ModuleNotFoundError(f"No module named {name!r}")
        return real(name, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(Unsuitable) as told:
        opened(tmp_path, SETTINGS)
    assert "make extras" in told.value.hint
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    assert opened(tmp_path, "") is None
