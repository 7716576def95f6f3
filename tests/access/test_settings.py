"""`[egress]` and `[git]` of preloop.toml: what is refused, and that no credential is shown."""

from pathlib import Path

import pytest

from control.flows import source
from kit.errors import Invalid
from preloop.in_force import told
from preloop.settings import Settings, load

FLOW = """
version: 1
name: reach
agent: {runtime: scripted}
prompt: go
egress: ["*.packages.example"]
git: [{host: github.com, repo: o/r}]
"""


def loaded(tmp_path: Path, text: str) -> Settings:
    path = tmp_path / "preloop.toml"
    path.write_text(text)
    return load(config=path)


def test_one_key_of_a_section_leaves_the_others_as_they_are(tmp_path: Path) -> None:
    found = loaded(tmp_path, '[egress]\nconnections = 3\nidle = "2m"\n').egress
    assert (found.connections, found.idle, found.most, found.per_second) == (3, 120, 2 << 30, 20)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[egress]\nwildcards = ["*"]', "egress.wildcards.0"),
        ('[egress]\nwildcards = ["example.com"]', "egress.wildcards.0"),
        ('[egress]\nprivate_hosts = ["10.0.0.1"]', "egress.private_hosts.0"),
        ('[egress]\nmost = "2 GB"', "egress.most"),
        ("[egress]\nmost = true", "egress.most"),
        ("[egress]\nports = [80]", "egress.ports"),
        ('[git."github.com"]\ntoken = "a"\ntoken_env = "B"', "git.github.com"),
        ('[git."git.example"]\nurl = "http://git.example"', "git.git.example"),
        ('[git."git.example"]\nurl = "https://user:pass@git.example"', "git.git.example.url"),
        ('[git."git.example"]\nurl = "https://git.example/"', "git.git.example.url"),
        ('[git."git.example"]\nuser = "a:b"', "git.git.example.user"),
        ('[git."Git.Example"]\ntoken = "a"', "git.Git.Example"),
        ('[git."10.0.0.1"]\ntoken = "a"', "git.10.0.0.1"),
    ],
)
def test_what_makes_no_sense_is_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(Invalid, match=says):
        loaded(tmp_path, text)


def test_tokens_come_from_variables_and_are_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = '[git."github.com"]\ntoken_env = "OUR_TOKEN"\n[git."git.example"]\ntoken = "ghp_in-the-file"\n'
    settings = loaded(tmp_path, text)
    with pytest.raises(Invalid, match="OUR_TOKEN, which is not set"):
        settings.opened_git()
    monkeypatch.setenv("OUR_TOKEN", "ghp_in-the-environment")
    tokens = [host.token.get_secret_value() for host in settings.opened_git().values() if host.token]
    assert tokens == ["ghp_in-the-environment", "ghp_in-the-file"]
    assert "ghp_" not in repr(settings) and "ghp_" not in str(told(settings))


def test_flows_may_name_what_is_set_up(tmp_path: Path) -> None:
    models = '[models.default]\nprovider = "scripted"\nscript = "pay"\n'
    known = loaded(tmp_path, models + '[egress]\nwildcards = ["*.packages.example"]\n[git."github.com"]\n').known()
    known.check(source.read(FLOW))
    with pytest.raises(Invalid, match="git host 'gitlab"):
        known.check(source.read(FLOW.replace("github.com", "gitlab.com")))
