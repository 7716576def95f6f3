"""The sentence that the approval page opens with, and names of arguments that pretend to be others."""

from collections.abc import Sequence
from typing import Any

import pytest

from tests.web.test_asked import marks, page_of
from tests.web.test_decisions import ask
from tests.web.world import World
from web import arguments
from web.arguments import Argument, Difference

SENTENCE = "Pay {{args.amount}} {{args.currency}} to {{ args.to.name }}"


def spoken(template: str | None, args: dict[str, Any]) -> str | None:
    said = arguments.sentence(template, args)
    if said is None:
        return None
    texts = ("".join(piece.text for piece in part.text) for part in said)
    return "".join(f"[{text}]" if part.value else text for part, text in zip(said, texts, strict=True))


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({"amount": 1500, "currency": "USD", "to": {"name": "Ann"}}, "Pay [1,500] [USD] to [Ann]"),
        ({"amount": 1.5, "currency": "USD", "to": {"name": "a\u202eb"}}, "Pay [1.5] [USD] to [aU+202Eb]"),
        ({"amount": 1500, "currency": "USD"}, None),
        ({"amount": 1500, "currency": "", "to": {"name": "Ann"}}, None),
        ({"amount": 1500, "currency": "USD", "to": {"name": "x" * 81}}, None),
        ({"amount": [1], "currency": "USD", "to": {"name": "Ann"}}, None),
    ],
    ids=["all", "odd", "missing", "empty", "long", "list"],
)
def test_a_sentence_says_every_value_or_is_not_said(args: dict[str, Any], said: str | None) -> None:
    assert spoken(SENTENCE, args) == said


def test_a_sentence_says_no_secret() -> None:
    assert spoken("Log in as {{args.user}} with {{args.password}}", {"user": "a", "password": "hunter2"}) == (
        "Log in as [a] with [••••••••]"
    )
    assert spoken(None, {}) is None


async def test_the_page_opens_with_the_flow_s_sentence_and_the_raw_name_stays(world: World) -> None:
    _, _, approval = await ask(world, summary="Pay {{args.amount}} USD to {{args.recipient}}")
    words = await page_of(world, approval)
    assert "asks to Pay 1,500 USD to contractor@example.com pay on payments" in words
    _, _, plain = await ask(world, summary="Pay {{args.missing}}")
    assert "asks to run pay on payments" in await page_of(world, plain)


# names that pretend ---------------------------------------------------------------------------------------------------


FORGED = [
    ({"payee": {"account": "EVIL-999"}, "payee.account": "ACME-001"}, "{{args.payee.account}}", "[EVIL-999]"),
    ({"payee.account": "ACME-001", "payee": {"account": "EVIL-999"}}, "{{args.payee.account}}", "[EVIL-999]"),
    ({"payee.account": "ACME-001"}, "{{args.payee.account}}", None),
    ({"ids": ["EVIL-999"], "ids[0]": "ACME-001"}, "{{args.ids[0]}}", "[EVIL-999]"),
    ({"ids": {"0": "ACME-001"}}, "{{args.ids[0]}}", None),
    ({"ids": {"[0]": "ACME-001"}, "ids[0]": "ACME-001"}, "{{args.ids[0]}}", None),
    ({"to": {"": {"name": "ACME-001"}, ".name": "ACME-001"}}, "{{args.to.name}}", None),
    ({"to": {"a.b": "ACME-001", "a": {"b": "EVIL-999"}}}, '{{args.to["a.b"]}}', "[ACME-001]"),
    ({"to": {"a": {"b": "EVIL-999"}}}, '{{args.to["a.b"]}}', None),
    ({"to": {"\\q": "x"}}, '{{args.to["\\q"]}}', None),
]


@pytest.mark.parametrize(("args", "template", "said"), FORGED)
def test_a_sentence_says_what_stands_there_and_not_what_is_named_like_it(
    args: dict[str, Any], template: str, said: str | None
) -> None:
    assert spoken(template, args) == said


PRETENDING = {
    "amount": 1,
    "payee": {"account": 2, "x.y": 3, "": 4, "[0]": 5, '"]': 6, "a b": 7, "\u202ecba": 8, "größe-1": 9},
    "payee.account": 10,
    "ids": [[11], {"0": 12}],
    "ids[0]": 13,
    "": 14,
    ".": {},
    "a\nb": [],
}
SPELT = [
    "amount",
    "payee.account",
    'payee["x.y"]',
    'payee[""]',
    'payee["[0]"]',
    'payee["\\"]"]',
    'payee["a b"]',
    'payee["U+202Ecba"]',
    "payee.größe-1",
    '["payee.account"]',
    "ids[0][0]",
    "ids[1].0",
    '["ids[0]"]',
    '[""]',
    '["."]',
    '["a\\nb"]',
]


def names(found: Sequence[Argument | Difference]) -> list[str]:
    return ["".join(piece.text for piece in each.path) for each in found]


def test_a_name_that_could_be_a_way_is_quoted() -> None:
    assert names(arguments.rows(PRETENDING)) == SPELT
    assert len(set(SPELT)) == len(SPELT)


def test_a_name_that_could_be_a_way_is_not_taken_for_it_beside_another_call() -> None:
    nested: dict[str, Any] = {"payee": {"account": "A"}, "ids": ["B"]}
    flat = {"payee.account": "A", "ids[0]": "B"}
    new = {'["payee.account"]': "new", '["ids[0]"]': "new"}
    assert marks(flat, nested) == new
    assert marks(nested | flat, nested) == {"payee.account": "same", "ids[0]": "same"} | new
    assert names(arguments.gone(flat, nested)) == ["payee.account", "ids[0]"]
    assert names(arguments.differences(nested, flat)) == ["payee.account", "ids[0]", *new]
    assert names(arguments.differences(nested | flat, nested | flat | {"payee": {"account": "EVIL"}})) == [
        "payee.account"
    ]


async def test_the_page_says_the_account_that_is_paid_and_names_the_other_apart(world: World) -> None:
    who = await world.house.gated(summary="Pay {{args.amount}} USD to {{args.payee.account}}")
    forged: dict[str, Any] = {"amount": 500, "payee": {"account": "EVIL-999"}, "payee.account": "ACME-001"}
    call = await world.house.call(who, **forged)
    words = await page_of(world, (await world.house.approval(call)).id)
    assert "asks to Pay 500 USD to EVIL-999" in words
    assert '["payee.account"] text ACME-001' in words
