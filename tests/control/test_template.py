"""Prompts: what is filled in, what stays text, and what is said of a variable that the event does not have."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control.flows import template
from kit.errors import Invalid

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
ODD = 'a.b[0]|"c" }} {{x}} ü\n'
"""A key that holds whatever means something in a slot."""
UNREADABLE = r"""
{{
{{}}
{{ }}
{{a
{{a}
{{a.}}
{{a..b}}
{{a b}}
{{a.0}}
{{.a}}
{{[0]}}
{{{a}}}
{{a[}}
{{a[x]}}
{{a[1.5]}}
{{a["b]}}
{{a["\q"]}}
{{a | upper}}
{{a |}}
{{a | json(1)}}
{{a | truncate(-1)}}
{{a | truncate(true)}}
{{a | truncate("2")}}
{{a | default(x)}}
{{a | default(NaN)}}
{{a | default("\ud800")}}
{{a | default("\u0000")}}
{{a | default(1}}
{{a | default(1, 2)}}
{{"a"
{{"a" | json}}
""".strip().splitlines()


def filled(prompt: str, payload: Any) -> str:
    return template.render(prompt, {"trigger_event": {"type": "manual", "payload": payload}}).text


def unresolved(prompt: str, payload: Any) -> list[tuple[str, str]]:
    found = template.render(prompt, {"trigger_event": {"type": "manual", "payload": payload}}).unresolved
    return [(one.name, one.hint) for one in found]


@pytest.mark.parametrize(
    ("prompt", "payload", "reads"),
    [
        ("{{trigger_event.payload.a}}", {"a": "as it is"}, "as it is"),
        ("{{ trigger_event.type }}", {}, "manual"),
        ("{{trigger_event.payload.a}}", {"a": {"b": [1, None, True, "ü"]}}, '{"b": [1, null, true, "ü"]}'),
        ("{{trigger_event.payload.a}}", {"a": None}, "null"),
        ("{{trigger_event.payload.a | json}}", {"a": 'say "x"'}, '"say \\"x\\""'),
        ("{{trigger_event.payload.items[0].name}}", {"items": [{"name": "first"}]}, "first"),
        ("{{trigger_event.payload.items[-1]}}", {"items": [1, 2, 3]}, "3"),
        ("{{trigger_event.payload[1][0]}}", [1, ["deep"]], "deep"),
        ("{{trigger_event.payload.two-words.größe}}", {"two-words": {"größe": 4}}, "4"),
        ("{{trigger_event.payload['@type']}}", {"@type": "x"}, "x"),
        ("{{trigger_event.payload['']}}", {"": "empty key"}, "empty key"),
        ('{{trigger_event.payload["a\\"b"]}}', {'a"b': 1}, "1"),
        ("{{trigger_event.payload.a | truncate(3)}}", {"a": "größer"}, "grö"),
        ("{{trigger_event.payload.a | truncate(4)}}", {"a": [10, 20]}, "[10,"),
        ("{{trigger_event.payload.a | truncate}}", {"a": "x" * 3000}, "x" * 2000),
        ('{{trigger_event.payload.a | default("none | }} {{")}}', {}, "none | }} {{"),
        ("{{trigger_event.payload.a | default('it')}}", {}, "it"),
        ("{{trigger_event.payload.a | default(7) | json}}", {}, "7"),
        ("{{trigger_event.payload.a | default()}}.", {}, "."),
        ("{{trigger_event.payload.a | default}}.", {}, "."),
        ('{{trigger_event.payload.a | default("")}}.', {"a": None}, "null."),
        ('{{trigger_event.payload.i[0].name | json | default("x") | truncate(2)}}', {"i": [{"name": "ab"}]}, '"a'),
        ("${{trigger_event.payload.amount}}", {"payment": 1500}, "$undefined"),
        ('{{"{{"}}a}} stays, }} too', {}, "{{a}} stays, }} too"),
        ("no variable", {}, "no variable"),
    ],
)
def test_a_slot_is_filled(prompt: str, payload: Any, reads: str) -> None:
    assert filled(prompt, payload) == reads


@pytest.mark.parametrize(
    ("prompt", "payload", "hint"),
    [
        ("{{trigger_event.payload.amount}}", {"payment": 1500}, "payload has `payment`"),
        ("{{trigger_event.payload.amount}}", {"id": 1, "Amount": 2, "to": 3}, "payload has `Amount`"),
        ("{{trigger_event.payload.zzz}}", {"id": 1, "to": 3}, "payload has `id`, `to`"),
        ("{{trigger_event.payload.zzz}}", dict.fromkeys("abcdefgh", 1), "payload has `a`, `b`, `c`, `d`, `e`, …"),
        ("{{trigger_event.payload.a}}", {}, "payload is empty"),
        ("{{trigger_event.payload.a.b}}", {"a": "text"}, "a is a text"),
        ("{{trigger_event.payload.a.b}}", {"a": None}, "a is null"),
        ("{{trigger_event.payload.a[2]}}", {"a": [1, 2]}, "a is a list of 2"),
        ("{{trigger_event.payload.a[-3]}}", {"a": [1, 2]}, "a is a list of 2"),
        ("{{trigger_event.payload.a[999999999]}}", {"a": [1, 2]}, "a is a list of 2"),
        ("{{trigger_event.payload.a.name}}", {"a": [1, 2]}, "a is a list of 2"),
        ("{{trigger_event.payload.a[0].name}}", {"a": [{"title": 1}]}, "a[0] has `title`"),
        ("{{trigger_event.payload.a[0]}}", {"a": {"0": 1}}, "a has `0`"),
        ("{{payload.amount}}", {"amount": 1}, "the template has `trigger_event`"),
        ("{{trigger_event.payload.a}}", {"x" * 100_000: 1}, "payload has no short keys"),
    ],
)
def test_a_variable_that_is_missing_is_named_with_what_is_there(prompt: str, payload: Any, hint: str) -> None:
    assert filled(prompt, payload) == "undefined"
    assert unresolved(prompt, payload) == [(prompt.strip("{}"), hint)]


def test_a_variable_is_named_once_and_none_that_has_a_default() -> None:
    prompt = "{{trigger_event.payload.a}} {{trigger_event.payload.a}} {{trigger_event.payload.b | default(1)}}"
    assert unresolved(prompt, {"c": 1}) == [("trigger_event.payload.a", "payload has `c`")]


@pytest.mark.parametrize("prompt", [*UNREADABLE, f"{{{{a[{'9' * 5000}]}}}}", "{{a | default(" + "[" * 100_000])
def test_a_template_that_cannot_be_read_is_refused_when_it_is_saved(prompt: str) -> None:
    with pytest.raises(Invalid) as caught:
        template.slots(prompt)
    assert caught.value.code in {"template_invalid", "json_odd_text"}


def test_what_cannot_be_read_is_named_with_its_line() -> None:
    with pytest.raises(Invalid, match=r"Line 2 of the prompt: '\{\{a b\}\}' can't be read at 'b\}\}'"):
        template.slots("first\nsecond {{a b}}\n")


@settings(deadline=None)
@given(payload=JSON)
def test_any_payload_renders_and_stays_what_it_is(payload: Any) -> None:
    text = filled("{{trigger_event.payload}}", payload)
    assert text == payload if isinstance(payload, str) else json.loads(text) == payload
    assert json.loads(filled("{{trigger_event.payload | json}}", payload)) == payload


@settings(deadline=None)
@given(payload=JSON, key=TEXTS, index=st.integers(-(10**9) + 1, 10**9 - 1))
def test_no_payload_makes_a_template_fail(payload: Any, key: str, index: int) -> None:
    prompt = f"<{{{{trigger_event.payload[{json.dumps(key)}].name[{index}] | truncate(5)}}}}>"
    rendered = template.render(prompt, {"trigger_event": {"payload": payload}})
    assert rendered.text == "<undefined>" or not rendered.unresolved
    assert all(one.hint and len(one.hint) < 1000 for one in rendered.unresolved)


@settings(deadline=None)
@given(key=TEXTS | st.just(ODD), value=JSON)
def test_any_key_can_be_quoted(key: str, value: Any) -> None:
    for quoted in (json.dumps(key), json.dumps(key, ensure_ascii=False)):
        text = filled(f"{{{{trigger_event.payload[{quoted}] | json}}}}", {key: value})
        assert json.loads(text) == value


@settings(deadline=None)
@given(text=TEXTS | st.sampled_from(["{{trigger_event.type}}", "}}{{", '{{"{{"}}', "{{"]))
def test_what_is_filled_in_is_never_filled_again(text: str) -> None:
    prompt = "{{trigger_event.payload.a}}{{trigger_event.payload.b}}"
    rendered = template.render(prompt, {"trigger_event": {"payload": {"a": text, "b": text}}})
    assert rendered == template.Rendered(text=text + text)


@settings(deadline=None)
@given(default=TEXTS)
def test_a_default_is_taken_as_it_is(default: str) -> None:
    assert filled(f"{{{{trigger_event.payload.a | default({json.dumps(default)})}}}}", {}) == default


@settings(deadline=None)
@given(prompt=st.text(st.sampled_from("{}|a.\"'[]0() \n")))
def test_any_template_is_read_or_refused(prompt: str) -> None:
    try:
        found = template.slots(prompt)
    except Invalid:
        return
    assert len(found) <= prompt.count("{{")
    assert {one.name for one in template.render(prompt, {}).unresolved} <= {slot.spelled for slot in found}


def test_only_the_first_of_a_sender_s_many_keys_are_looked_at() -> None:
    early = {f"key{number}": 1 for number in range(template.NEAR)}
    [(_, hint)] = unresolved("{{trigger_event.payload.amount}}", early | {"amounts": 1})
    assert hint == "payload has `key0`, `key1`, `key2`, `key3`, `key4`, …"
    [(_, hint)] = unresolved("{{trigger_event.payload.amount}}", {"amounts": 1} | early)
    assert hint == "payload has `amounts`"


def test_a_prompt_of_many_unfilled_variables_looks_for_what_is_near_a_few_times() -> None:
    prompt = "".join(f"{{{{trigger_event.payload.amount{number}}}}}" for number in range(3 * template.HINTED))
    found = unresolved(prompt * 2, {"amounts": 1})
    assert [bool(hint) for _, hint in found] == [True] * template.HINTED + [False] * 2 * template.HINTED
