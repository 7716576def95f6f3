"""Schemas as Pydantic, Zod and MCP servers write them: what each wire must carry of one, to whom it can."""

from gateway.wires.neutral import Json

_CAT: Json = {
    "type": "object",
    "properties": {"kind": {"const": "cat", "type": "string"}, "lives": {"type": "integer"}},
}
_DOG: Json = {"type": "object", "properties": {"kind": {"const": "dog", "type": "string"}, "bark": {"type": "string"}}}
_PLACE: Json = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
RICH: Json = {
    "type": "object",
    "title": "Pay",
    "$defs": {"Cat": _CAT, "Dog": _DOG, "Place": _PLACE},
    "properties": {
        "currency": {"const": "EUR"},
        "level": {"enum": [1, 2, 3]},
        "mode": {"enum": ["fast", "slow"], "type": "string", "default": "fast"},
        "pet": {
            "oneOf": [{"$ref": "#/$defs/Cat"}, {"$ref": "#/$defs/Dog"}],
            "discriminator": {"propertyName": "kind", "mapping": {"cat": "#/$defs/Cat", "dog": "#/$defs/Dog"}},
        },
        "from": {"$ref": "#/$defs/Place"},
        "to": {"anyOf": [{"$ref": "#/$defs/Place"}, {"type": "null"}], "description": "Where to."},
        "amount": {"type": "number", "exclusiveMinimum": 0, "maximum": 500, "multipleOf": 0.01},
        "iban": {"type": "string", "pattern": "^DE[0-9]{20}$", "minLength": 22, "format": "iban"},
        "tags": {"type": "array", "items": {"type": "string", "description": "A tag."}, "minItems": 2},
        "pair": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "number"}]},
        "both": {"allOf": [{"type": "object", "properties": {"deep": {"type": "string"}}}, {"description": "Both."}]},
        "not_null": {"not": {"type": "null"}},
        "maybe": {"type": ["string", "null"]},
    },
    "required": ["currency", "amount"],
}
MAP: Json = {
    "type": "object",
    "properties": {
        "split": {"type": "object", "additionalProperties": {"type": "integer", "description": "Cents."}},
        "more": {"type": "object", "patternProperties": {"^x_": {"type": "string"}}, "minProperties": 1},
    },
}
OPEN: Json = {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": True}
DESCRIBED: Json = {
    "type": "object",
    "$defs": {"Place": _PLACE},
    "properties": {"at": {"$ref": "#/$defs/Place", "description": "Where."}},
}
CHOICE: Json = {"anyOf": [_CAT, _DOG]}
ALL = {"rich": RICH, "map": MAP, "open": OPEN, "described": DESCRIBED, "choice": CHOICE}
OPENAPI: Json = {
    "type": "OBJECT",
    "properties": {
        "amount": {"type": "NUMBER", "minimum": 1, "example": 5},
        "note": {"type": "STRING", "nullable": True, "maxLength": "9"},
        "tags": {"type": "ARRAY", "items": {"type": "STRING", "description": "A tag."}},
    },
    "required": ["amount"],
    "propertyOrdering": ["note", "amount", "tags"],
}
