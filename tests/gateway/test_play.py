"""A turn script: which turn it is, what it says, and what it calls. No server, no clock."""

from pathlib import Path

import pytest

from gateway.models import SCRIPTS
from gateway.play import THE_END, Lines, Script, lines, offered
from gateway.scripted import load
from gateway.wires.neutral import Call, Message, Request, Result, Tool
from gateway.wires.openai import text_parts
from kit.errors import Invalid
from tests.gateway.plane import PAYMENT


def user(text: str) -> Message:
    return Message(role="user", parts=text_parts(text))


def answered(text: str) -> Message:
    return Message(role="tool", parts=(Result(call_id="c1", parts=text_parts(text)),))


USER = user(PAYMENT)
ASKED = Message(role="assistant", parts=(Call(id="c1", name="pay", arguments="{}"),))


def play(*messages: Message, tools: tuple[str, ...] = ("pay",), schema: tuple[str, ...] = ()) -> Lines:
    parameters: dict[str, object] = {"properties": {name: {} for name in schema}}
    offer = tuple(Tool(name=name, own=name, parameters=parameters) for name in tools)
    return lines(load(SCRIPTS / "payment.yaml"), Request(alias="default", messages=messages, tools=offer))[1]


@pytest.mark.parametrize("name", ["pay", "mcp__preloop__pay", "preloop_pay", "preloop-pay", "mcp_preloop_pay"])
def test_a_tool_is_known_behind_any_clients_prefix(name: str) -> None:
    assert offered("pay", ["prepay", "payment", name]) == name


def test_a_tool_that_merely_ends_alike_is_not_it() -> None:
    assert offered("pay", ["prepay", "payment"]) is None


def test_the_prompt_fills_the_first_turn() -> None:
    first = play(USER)
    assert first.say.splitlines()[1] == "The recipient is contractor@example.com."
    assert first.calls == (
        ("pay", '{"recipient":"contractor@example.com","amount":250,"currency":"USD","contract_id":"contract-7"}'),
    )


@pytest.mark.parametrize(
    ("prompt", "amount", "contract"),
    [
        ("Use the pay tool to send 12.5 USD to Alice & Sons for C-2026.11.", "12.5", "C-2026.11"),
        ("Hello.\nUse the pay tool to send 1 USD to a@b.c for x\nThank you.", "1", "x"),
    ],
)
def test_amounts_and_contracts_are_read_whole(prompt: str, amount: str, contract: str) -> None:
    ((_, arguments),) = play(user(prompt)).calls
    assert f'"amount":{amount},' in arguments
    assert f'"contract_id":"{contract}"' in arguments


def test_a_justification_is_given_only_where_it_is_asked_for() -> None:
    ((_, without),) = play(USER).calls
    ((_, asked),) = play(USER, schema=("justification",)).calls
    assert "justification" not in without
    assert "The prompt asks for 250.00 USD" in asked


@pytest.mark.parametrize("result", ['{"transaction_id":"tx-1"}', 'Output:\n{"transaction_id": "tx-1"} and more'])
def test_the_second_turn_quotes_the_tools_result(result: str) -> None:
    last = play(USER, ASKED, answered(result))
    assert "tx-1" in last.say
    assert last.calls == ()


def test_a_result_without_the_field_is_said_as_it_is() -> None:
    last = play(USER, ASKED, answered("Declined by alice."))
    assert last.say == "The payment was not made. The tool said: Declined by alice."


def test_a_missing_tool_a_missing_prompt_and_the_end_are_said_aloud() -> None:
    assert "offered no tool named pay" in play(USER, tools=()).say
    assert play(user("Hello.")).calls == ()
    assert play(USER, ASKED, ASKED).say == THE_END


@pytest.mark.parametrize(
    ("text", "where"),
    [("version: 1\nturns: []", "turns"), ("version: 1\nturns: [{shout: x}]", "turns.0.shout"), ("{", "not YAML")],
)
def test_a_wrong_script_is_named_with_its_key(tmp_path: Path, text: str, where: str) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(Invalid, match=where):
        load(path)
    with pytest.raises(Invalid, match="can't be read"):
        load(tmp_path / "none.yaml")


def test_every_shipped_script_loads() -> None:
    assert all(isinstance(load(path), Script) for path in SCRIPTS.glob("*.yaml"))
