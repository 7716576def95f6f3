"""Flow files: what they say, on which line they are wrong, and that what is written is read back."""

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control.flows import quantities, schema, source, toml_file, yaml_file
from control.flows.flow import Flow
from kit.errors import Invalid
from tests.house.plan import ROOT

EXAMPLE = (ROOT / "examples" / "flows" / "process-payment.yaml").read_text()
HEAD = "version: 1\nname: x\nprompt: p\nagent: {runtime: codex}\n"
TOML = 'version = 1\nname = "x"\nprompt = "p"\nagent = {runtime = "codex"}\n'
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"))
VALUES = st.recursive(
    st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


def refused(text: str, syntax: source.Syntax = "yaml") -> Invalid:
    with pytest.raises(Invalid) as caught:
        source.read(text, syntax)
    return caught.value


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("limit: {}\n", "line 5, limit: an unknown key; is `limits` meant?"),
        ("limits: {timeout: 10x}\n", "line 5, limits.timeout: '10x' is not a duration"),
        (
            "limits:\n  wall: 1h\n  budget_usd: 2.00\n",
            "line 7, limits.budget_usd: '2.0' is not an amount; write it in quotes: \"2.00\"",
        ),
        (
            "tools:\n- server: a\n  tool: b\n- server: a\n  tol: b\n",
            "line 9, tools.1.tol: an unknown key; is `tool` meant?",
        ),
        ("tools:\n- {server: a}\n", "line 6, tools.0.tool: Field required"),
        (
            "tools:\n- server: a\n  tool: b\n  approval:\n    group: g\n    quorum: 0\n",
            "line 10, tools.0.approval.quorum",
        ),
        ("description: 1\nname: y\n", "line 6, name: this key stands here twice"),
        ("description: 2024-01-01\negress: [1]\n", "line 6, egress.0"),
        ("result_schema: {a: !!timestamp 2024-01-01}\n", "line 5, result_schema.a: a date is no value here"),
        ("1: x\n", "line 5: a key here is not a text"),
        ("? [a]\n: x\n", "line 5: a key here is not a text"),
        ("tools: [\n", "line 6, column 1: this is not YAML"),
        ("description: !!python/object:os.system x\n", "line 5, column 14: this is not YAML"),
        ('description: "a\\0"\n', "line 5, description: A text holds a NUL"),
        ("result_schema: {n: 99999999999999999999}\n", "line 5, result_schema.n: The integer"),
        ("limits: {timeout: 999999999d}\n", "line 5, limits.timeout"),
        ("limits: {timeout: 0}\n", "line 5, limits.timeout"),
        ("retries: {on: x}\n", "line 5, retries.on"),
        ("limits:\n  concurrency: true\n", "line 6, limits.concurrency: Input should be a valid integer"),
    ],
)
def test_a_mistake_in_yaml_is_named_with_its_line_and_key(more: str, says: str) -> None:
    assert says in refused(HEAD + more).message


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("limit = {}\n", "line 5, limit: an unknown key; is `limits` meant?"),
        ("[limits]\n# a = [\ntimeout = '10x'\n", "line 7, limits.timeout: '10x' is not a duration"),
        ("limits.timeout = '10x'\n", "line 5, limits.timeout"),
        ("[limits]\nbudget_usd = 2.00\n", "line 6, limits.budget_usd: '2.0' is not an amount"),
        ("[[tools]]\nserver='a'\ntool='b'\n\n[[tools]]\nserver='a'\ntol='b'\n", "line 11, tools.1.tol: an unknown key"),
        ("[[tools]]\nserver = 'a'\n", "line 5, tools.0.tool: Field required"),
        (
            "[[tools]]\nserver='a'\ntool='b'\n[tools.approval]\ngroup='g'\nquorum=0\n",
            "line 10, tools.0.approval.quorum",
        ),
        ('tools = [\n  {server = "a", tool = "]}"},\n  {server = "a", tool = 1},\n]\n', "line 7, tools.1.tool"),
        ('description = """\na\n"""\negress = [\n"ok",\n1]\n', "line 10, egress.1"),
        ("description = 2024-01-01\n", "line 5, description: a date is no value here"),
        ("result_schema = {a = inf}\n", "line 5, result_schema.a: NaN and infinities"),
        ("name = 'y'\n", "line 5: this is not TOML: Cannot overwrite a value"),
        ("tools = [\n", "this is not TOML"),
        (f"result_schema = {{a = {'[' * 100}{']' * 100}}}\n", "line 5, result_schema: this is nested too deeply"),
    ],
)
def test_a_mistake_in_toml_is_named_with_its_line_and_key(more: str, says: str) -> None:
    assert says in refused(TOML + more, "toml").message


@pytest.mark.parametrize(
    "text", ["[" * 300_000, "a: {" * 100_000, "- " * 100_000, "", "null", "[]", "{}", "a: &a [*a]"]
)
def test_what_is_no_flow_at_all_is_refused_and_ends_nothing(text: str) -> None:
    assert refused(text).code == "flow_invalid"


def test_names_that_repeat_each_other_without_end_are_refused() -> None:
    layers = [
        f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]" for before, name in zip("abcdefg", "bcdefgh", strict=True)
    ]
    assert "too large" in refused("a: &a [1]\n" + "\n".join(layers)).message


def test_words_are_what_yaml_1_2_says() -> None:
    body, _ = yaml_file.load("{on: off, yes: 010, at: 2024-01-01, t: true, n: ~, i: 7, f: 1.5}\n")
    assert body == {"on": "off", "yes": "010", "at": "2024-01-01", "t": True, "n": None, "i": 7, "f": 1.5}


def test_a_name_may_stand_for_what_is_written_once() -> None:
    text = HEAD + "tools:\n- &pay {server: a, tool: b}\n- {<<: *pay, tool: c}\n"
    assert [tool.tool for tool in source.read(text).flow.tools] == ["b", "c"]


def test_json_is_a_flow_file_too() -> None:
    assert source.read(json.dumps(source.read(EXAMPLE).body, indent=2)).flow == source.parse(EXAMPLE)


@pytest.mark.parametrize("syntax", ["yaml", "toml"])
def test_what_is_exported_is_what_was_applied(syntax: source.Syntax) -> None:
    written = source.read(EXAMPLE)
    assert source.read(source.dump(written.body, syntax), syntax).body == written.body


def test_an_export_has_the_order_of_the_reference_and_the_prompt_as_a_block() -> None:
    body = json.loads(source.read(HEAD + "limits: {budget_usd: null}\n").stored)
    assert list(body) == sorted(body)
    assert source.dump(body) == "version: 1\nname: x\nagent:\n  runtime: codex\nprompt: p\nlimits: {}\n"
    assert "prompt: |\n  Use the pay tool" in source.dump(source.read(EXAMPLE).body)


def test_toml_cannot_say_null_and_says_so() -> None:
    with pytest.raises(Invalid, match=r"result_schema\.enum\.0 is null"):
        toml_file.dump({"result_schema": {"enum": [None]}})


@settings(deadline=None)
@given(body=st.dictionaries(TEXTS, VALUES, max_size=5))
def test_toml_is_read_back_as_it_was_written(body: dict[str, Any]) -> None:
    text = toml_file.dump(body)
    read, lines = toml_file.load(text)
    assert read == body
    assert set(lines) == set(places(body))
    assert all(1 <= line <= text.count("\n") + 1 for line in lines.values())


@settings(deadline=None)
@given(body=st.dictionaries(TEXTS, VALUES, max_size=5))
def test_yaml_is_read_back_as_it_was_written(body: dict[str, Any]) -> None:
    read, lines = yaml_file.load(yaml_file.dump(body))
    assert read == body
    assert set(lines) == {(), *places(body)}


def places(value: Any, at: yaml_file.At = ()) -> list[yaml_file.At]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, item in pairs for place in ((*at, key), *places(item, (*at, key)))]


@settings(deadline=None)
@given(text=st.text(st.sampled_from("ab:-[]{}&*!|>'\"#,?%@` \n\t01.")))
def test_any_text_is_read_or_refused(text: str) -> None:
    for syntax in ("yaml", "toml"):
        assert refused(text, "toml" if syntax == "toml" else "yaml").message


# the schema -----------------------------------------------------------------------------------------------------------

SCHEMA = schema.described("https://preloop.test/api/flow.schema.json")


def fits(body: Any) -> bool:
    return bool(jsonschema.Draft202012Validator(SCHEMA).is_valid(body))


def test_the_schema_is_one_and_takes_what_we_take() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert fits(source.read(EXAMPLE).body)


@pytest.mark.parametrize(
    "more",
    [
        {"limits": {"timeout": "10x"}},
        {"limits": {"budget_usd": 2.0}},
        {"limits": {"timeout": "30m", "wal": "1h"}},
        {"resources": {"memory": "2gb"}},
        {"agent": {"runtime": "emacs"}},
        {"name": "Not A Name"},
        {"tools": [{"server": "a"}]},
        {"version": 2},
        {"version": True},
        {"limits": {"concurrency": True}},
        {"limits": {"concurrency": "3"}},
        {"resources": {"cpus": "1.5"}},
        {"agent": {"runtime": "scripted", "gateway": 1}},
        {"tools": [{"server": "a", "tool": "b", "approval": {"group": "g", "four_eyes": "yes"}}]},
    ],
)
def test_the_schema_refuses_what_we_refuse(more: dict[str, Any]) -> None:
    body = dict(source.read(HEAD).body) | more
    assert not fits(body)
    assert refused(json.dumps(body)).code == "flow_invalid"


@pytest.mark.parametrize(
    ("agent", "word"),
    [
        ({"runtime": "command"}, "`image` and a `command`"),
        ({"runtime": "command", "image": "mine:1"}, "`image` and a `command`"),
        ({"runtime": "command", "command": ["work"]}, "`image` and a `command`"),
        ({"runtime": "command", "image": "mine 1", "command": ["work"]}, "image"),
        ({"runtime": "codex", "image": "mine:1"}, "belong to `runtime: command`"),
        ({"runtime": "codex", "command": ["work"]}, "belong to `runtime: command`"),
    ],
)
def test_an_image_and_a_command_belong_to_an_agent_of_one_s_own(agent: dict[str, Any], word: str) -> None:
    fault = refused(json.dumps(dict(source.read(HEAD).body) | {"agent": agent}))
    assert fault.code == "flow_invalid"
    assert word in fault.message


def test_an_agent_of_one_s_own_names_both() -> None:
    agent = {"runtime": "command", "image": "mine:1", "command": ["sh", "-c", "work"]}
    flow = source.read(json.dumps(dict(source.read(HEAD).body) | {"agent": agent})).flow
    assert (flow.agent.image, flow.agent.command) == ("mine:1", ("sh", "-c", "work"))


def test_the_schema_has_quantities_as_people_write_them_and_says_what_keys_mean() -> None:
    limits, approval = (SCHEMA["$defs"][part]["properties"] for part in ("Limits", "Approval"))
    assert (limits["timeout"]["default"], limits["wall"]["default"], approval["timeout"]["default"]) == (
        "30m",
        "24h",
        "10m",
    )
    assert SCHEMA["$defs"]["Resources"]["properties"]["memory"]["default"] == "2g"
    assert fits(dict(source.read(HEAD).body) | {"limits": {"timeout": 90, "budget_usd": "0.50"}})
    told = [name for name, key in SCHEMA["properties"].items() if "description" in key or "$ref" in key]
    assert set(Flow.model_fields) - set(told) == {"description"}


@settings(deadline=None)
@given(whole=st.integers(1, quantities.LONGEST))
def test_a_duration_is_written_as_it_is_read(whole: int) -> None:
    assert quantities.seconds(quantities.duration(whole)) == whole
