"""Definitions as values: what is accepted, what is shown, what is said about arguments."""

from typing import Any

import pytest

from control.identity.charter import Gate, Justification, ToolGrant
from kit import canonical
from kit.errors import Invalid
from mcp_server import schema

PAY: dict[str, Any] = {
    "name": "pay",
    "description": "Send money.",
    "inputSchema": {
        "type": "object",
        "properties": {"recipient": {"type": "string"}, "amount": {"type": "number", "exclusiveMinimum": 0}},
        "required": ["recipient", "amount"],
        "additionalProperties": False,
    },
    "outputSchema": {"type": "object", "x-note": None},
}


def grant(justification: Justification = "none", *, gated: bool = False, when: str | None = None) -> ToolGrant:
    gate = Gate(group="finance", when=when) if gated else None
    return ToolGrant(server="payments", tool="pay", justification=justification, approval=gate)


def tool(name: str, server: str = "payments", **changed: Any) -> schema.Definition:
    return schema.define(server, PAY | changed | {"name": name})


def test_a_definition_keeps_the_raw_object_and_its_digest() -> None:
    definition = schema.define("payments", PAY)
    assert definition.raw is PAY
    assert definition.digest == canonical.digest(PAY)


def test_an_ungated_tool_is_shown_as_it_came() -> None:
    assert schema.advertise(tool("pay"), "pay", [grant()]) == PAY


@pytest.mark.parametrize(
    ("granted", "suffix"),
    [
        (grant(gated=True), "Needs a person's approval: call it directly; the answer may take minutes."),
        (grant(gated=True, when="args.amount > 100"), "May need a person's approval: call it directly; the answer"),
        (grant("required", gated=True), "call it directly, with `justification`; the answer may take minutes."),
    ],
)
def test_a_gated_tool_says_so_in_its_description(granted: ToolGrant, suffix: str) -> None:
    description = schema.advertise(tool("pay"), "pay", [granted])["description"]
    assert description.startswith("Send money.\n\n")
    assert suffix in description


def test_a_wanted_justification_is_advertised_and_the_definition_stays_as_it_was() -> None:
    definition = tool("pay")
    shown = schema.advertise(definition, "pay", [grant("required")])["inputSchema"]
    assert shown["required"] == ["recipient", "amount", "justification"]
    assert shown["properties"]["justification"]["type"] == "string"
    assert definition.raw["inputSchema"] == PAY["inputSchema"]


def test_the_justification_is_taken_off_before_anything_goes_upstream() -> None:
    arguments = {"recipient": "a@example.com", "amount": 1, "justification": "the invoice is due"}
    assert schema.part(tool("pay"), [grant("optional")], arguments) == (
        {"recipient": "a@example.com", "amount": 1},
        "the invoice is due",
    )


@pytest.mark.parametrize("given", [{}, {"justification": "  "}])
def test_a_required_justification_may_not_be_missing_or_blank(given: dict[str, str]) -> None:
    with pytest.raises(Invalid, match="required argument 'justification' missing"):
        schema.part(tool("pay"), [grant("required")], given)


OWN: dict[str, Any] = {"type": "object", "properties": {"justification": {"type": "string"}}}
D7 = "http://json-schema.org/draft-07/schema#"
OWN_BOTH: dict[str, Any] = {"properties": {"justification": {}, "preloop_justification": {}}}


@pytest.mark.parametrize(
    ("schema_", "ours"),
    [
        (OWN, "preloop_justification"),
        ({"$ref": "#/$defs/arguments", "$defs": {"arguments": OWN}}, "preloop_justification"),
        ({"anyOf": [{"required": ["justification"]}, {}]}, "preloop_justification"),
        (OWN_BOTH, "preloop_preloop_justification"),
        ({"patternProperties": {"^just": {"type": "string"}}}, "preloop_justification"),
        ({"patternProperties": {"tification$": {}}}, "reason"),
        ({"propertyNames": {"pattern": "^just"}}, "preloop_justification"),
        ({"propertyNames": {"enum": ["justification", "force"]}}, "preloop_justification"),
        ({"dependentRequired": {"force": ["justification"]}}, "preloop_justification"),
        ({"dependentRequired": {"justification": ["force"]}}, "preloop_justification"),
        ({"dependentSchemas": {"justification": {}}}, "preloop_justification"),
        ({"$schema": D7, "dependencies": {"force": ["justification"]}}, "preloop_justification"),
        ({"$schema": D7, "dependencies": {"justification": {}}}, "preloop_justification"),
    ],
)
def test_a_tool_with_a_justification_of_its_own_keeps_it_and_ours_has_another_name(
    schema_: dict[str, Any], ours: str
) -> None:
    own = tool("pay", inputSchema=schema_)
    shown = schema.advertise(own, "pay", [grant("required", gated=True)])
    assert ours in shown["inputSchema"]["required"]
    assert f"with `{ours}`" in shown["description"]
    assert schema.part(own, [grant("required")], {"justification": "x", ours: "due"}) == ({"justification": "x"}, "due")
    with pytest.raises(Invalid, match=f"required argument '{ours}' missing"):
        schema.part(own, [grant("required")], {"justification": "x"})
    assert schema.part(own, [grant()], {"justification": "x"}) == ({"justification": "x"}, None)


@pytest.mark.parametrize("pattern", ["", ".*", "^[a-z_]+$", "^x-"])
def test_a_pattern_that_takes_any_name_leaves_ours_as_it_is(pattern: str) -> None:
    assert tool("pay", inputSchema={"patternProperties": {pattern: {}}}).justification == "justification"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"recipient": "a@example.com", "amount": 1}, ""),
        ({"recipient": "a@example.com"}, "required argument 'amount' missing"),
        ({}, "required argument 'recipient' missing; required argument 'amount' missing"),
        ({"recipient": "a@example.com", "amount": "1"}, "argument 'amount': '1' is not of type 'number'"),
        ({"recipient": "a", "amount": 1, "to": 2}, "Additional properties are not allowed ('to' was unexpected)"),
    ],
)
def test_complaints_are_sentences_a_model_can_act_on(arguments: dict[str, object], said: str) -> None:
    assert schema.complaints(tool("pay"), arguments) == said


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        ({"inputSchema": None}, "tool_malformed"),
        ({"inputSchema": {"type": "object", "properties": 3}}, "schema_invalid"),
        ({"inputSchema": {"type": "object", "$ref": "https://example.com/schema"}}, "schema_remote"),
        ({"inputSchema": {"type": "object", "$defs": {"a": {"$id": "https://example.com/a"}}}}, "schema_remote"),
        ({"description": "x" * schema.MAX_BYTES}, "tool_too_large"),
        ({"description": 2**60}, "json_integer_too_large"),
        ({"description": float("nan")}, "json_not_a_number"),
        ({"inputSchema": {"$schema": ["x"]}}, "schema_draft"),
        ({"inputSchema": {"$schema": {}}}, "schema_draft"),
        ({"inputSchema": {"$schema": "http://json-schema.org/draft-03/schema#", "required": True}}, "schema_draft"),
        ({"inputSchema": {"patternProperties": {"^(just|preloop|reason)": {}}}}, "tool_malformed"),
        ({"inputSchema": {"$ref": "#/x-odd", "x-odd": {"patternProperties": 5}}}, "tool_malformed"),
    ],
)
def test_a_definition_nobody_could_check_against_is_refused(broken: dict[str, object], code: str) -> None:
    with pytest.raises(Invalid) as refused:
        schema.define("payments", PAY | broken)
    assert refused.value.code == code


def test_one_name_on_two_servers_is_told_apart_visibly() -> None:
    owned = [("payments", "pay"), ("bank", "pay"), ("payments", "look"), ("third", "bank__pay")]
    assert list(schema.names(owned).values()) == ["payments__pay", "bank__pay", "look", "third__bank__pay"]


def test_what_waits_for_an_admin_renames_nothing() -> None:
    owned = [("payments", "pay"), ("bank", "pay"), ("third", "pay"), ("third", "bank__pay")]
    waiting = {("bank", "pay"), ("third", "pay")}
    assert list(schema.names(owned, waiting).values()) == ["pay", "bank__pay", "third__pay", "third__bank__pay"]
    assert schema.names(owned, {("third", "pay")})["payments", "pay"] == "payments__pay"
