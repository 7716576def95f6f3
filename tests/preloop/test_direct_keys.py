"""The keys that agents get past the gateway: read at the start, hidden in what is stored, never the gateway's own."""

from pathlib import Path

import pytest

from control.flows import source
from kit.errors import Invalid
from preloop.known_secrets import known_secrets
from preloop.settings import Settings, load

MODELS = """
[models.default]
provider = "{provider}"
model = "gpt-x"
{own}

[models.other]
provider = "openai"
model = "gpt-y"
api_key = "sk-gateway-other-key"

[models.default.direct]
wire = "openai"
model = "gpt-x"
flows = ["past"]
{direct}
"""
KEY = "sk-direct-0123456789"


def settings(folder: Path, direct: str, *, own: str = "", provider: str = "openai", more: str = "") -> Settings:
    config = folder / "preloop.toml"
    config.write_text(MODELS.format(provider=provider, own=own, direct=direct) + more)
    return load(config=config)


def key_of(given: Settings) -> str:
    key = given.opened_direct()["default"].key
    return key.get_secret_value() if key else ""


def test_a_key_comes_from_a_variable_a_file_or_a_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTS_KEY", KEY)
    (tmp_path / "key").write_text(KEY + "\n")
    monkeypatch.setenv("PRELOOP_MODELS__DEFAULT__DIRECT__KEY_FILE", str(tmp_path / "key"))
    assert key_of(settings(tmp_path, "")) == KEY
    monkeypatch.delenv("PRELOOP_MODELS__DEFAULT__DIRECT__KEY_FILE")
    for line in ('key_env = "AGENTS_KEY"', f'key_file = "{tmp_path}/key"'):
        given = settings(tmp_path, line)
        assert key_of(given) == KEY
        assert KEY in known_secrets(given)


@pytest.mark.parametrize(
    ("direct", "says"),
    [
        ('key_env = "NOBODY_SET_THIS"', "models.default.direct.key_env names the variable NOBODY_SET_THIS"),
        ('key_file = "/nowhere/key"', "models.default.direct.key_file names /nowhere/key, which can't be read"),
        ('key = " "', "models.default.direct: the key has less than 8 characters"),
        ('key = "sk-1234"', "models.default.direct: the key has less than 8 characters"),
        (
            'key = "two\\nlines-of-it"',
            "models.default.direct: the key has less than 8 characters, or more than one line",
        ),
    ],
)
def test_a_key_that_is_not_there_is_named_by_its_setting(tmp_path: Path, direct: str, says: str) -> None:
    with pytest.raises(Invalid) as caught:
        settings(tmp_path, direct).opened_direct()
    assert says in caught.value.message


def test_the_gateway_s_own_key_is_refused_however_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text(KEY + "\n")
    monkeypatch.setenv("AGENTS_KEY", KEY)
    monkeypatch.setenv("OTHERS_KEY", "sk-gateway-other-key")
    ways = [
        settings(tmp_path, 'key_env = "AGENTS_KEY"', own=f'api_key = "{KEY}"'),
        settings(tmp_path, f'key = "{KEY}"', own=f'api_key_file = "{tmp_path}/key"'),
        settings(tmp_path, f'key_file = "{tmp_path}/key"', own=f'api_key_file = "{tmp_path}/key"'),
        settings(tmp_path, 'key_env = "OTHERS_KEY"'),  # of another alias
    ]
    monkeypatch.setenv("MISTRAL_API_KEY", "what LiteLLM takes by itself")
    ways.append(settings(tmp_path, 'key_env = "MISTRAL_API_KEY"', provider="mistral"))
    for given in ways:
        with pytest.raises(Invalid) as caught:
            given.opened_direct()
        assert "models.default.direct has a key that the gateway uses itself" in caught.value.message
        assert KEY not in caught.value.message


def test_a_gateway_without_a_key_of_its_own_leaves_the_usual_variable_to_agents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert key_of(settings(tmp_path, 'key_env = "OPENAI_API_KEY"')) == KEY


@pytest.mark.parametrize(
    ("budget", "covered"),
    [
        ('scope = "account"', True),
        ('scope = "execution"', True),
        ('scope = "flow"', True),
        ('scope = "flow"\nsubject = "past"', True),
        ('scope = "flow"\nsubject = "another"', False),
        ('scope = "principal"\nsubject = "flow:past"', True),
        ('scope = "alias"\nsubject = "default"', True),
        ('scope = "alias"\nsubject = "other"', False),
        ('scope = "account"\nkind = "soft"', False),
    ],
)
def test_a_hard_budget_covers_whom_it_counts(tmp_path: Path, budget: str, covered: bool) -> None:
    more = f'\n[[budgets]]\nperiod = "day"\nlimit_usd = "5.00"\n{budget}\n'
    given = settings(tmp_path, f'key = "{KEY}"', more=more).known()
    text = "version: 1\nname: past\nagent: {runtime: scripted, gateway: false}\nprompt: x\n"
    if covered:
        with pytest.raises(Invalid, match="nobody keeps a hard limit"):
            given.check(source.read(text))
    else:
        given.check(source.read(text))
