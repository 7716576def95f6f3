"""The Gemini wire: what an address says, and how a request that gets no answer hears so."""

import json

import pytest

from gateway.dialects.gemini import GEMINI as DIALECT
from gateway.refusals import Limited
from gateway.upstream import UpstreamFailed
from gateway.wires.gemini import addressed
from gateway.wires.gemini_face import GEMINI
from gateway.wires.neutral import HERE, Address
from kit.errors import Fault, Invalid, Missing, Refused, Unauthorized
from tests.gateway.test_gemini_wire import asked, read


@pytest.mark.parametrize("version", ["v1beta", "v1"])
@pytest.mark.parametrize(
    ("said", "query", "method", "stream"),
    [
        ("default:generateContent", "", "generateContent", False),
        ("default:generateContent", "alt=json", "generateContent", False),
        ("default:streamGenerateContent", "alt=sse", "streamGenerateContent", True),
        ("default:countTokens", "", "countTokens", False),
    ],
)
def test_an_address_tells_alias_and_method(version: str, said: str, query: str, method: str, stream: bool) -> None:
    assert addressed(f"/{version}/models/{said}", query) == (method, Address(alias="default", stream=stream))


def test_an_alias_may_have_slashes_and_colons() -> None:
    assert addressed("/v1beta/models/a/b:c:generateContent", "")[1].alias == "a/b:c"


@pytest.mark.parametrize(
    ("path", "query", "kind"),
    [
        ("/v1beta/models/default:streamGenerateContent", "", Invalid),
        ("/v1beta/models/default:streamGenerateContent", "alt=json", Invalid),
        ("/v1beta/models/default:generateContent", "alt=sse", Invalid),
        ("/v1beta/models/default:generateContent", "fields=a", Invalid),
        ("/v1beta/models/default:streamGenerateContent", "alt=sse&$alt=proto", Invalid),
        ("/v1beta/models/default:embedContent", "", Missing),
        ("/v1beta/models/:generateContent", "", Missing),
        ("/v1beta/models/default", "", Missing),
        ("/v1beta/files", "", Missing),
        ("/v2/models/default:generateContent", "", Missing),
    ],
)
def test_another_address_is_refused(path: str, query: str, kind: type[Fault]) -> None:
    with pytest.raises(kind):
        addressed(path, query)


@pytest.mark.parametrize(
    ("fault", "status", "name"),
    [
        (Refused("budget_exceeded", "The budget is gone.", "Raise it."), 402, "FAILED_PRECONDITION"),
        (Refused("hosted_tool_not_allowed", "No."), 403, "PERMISSION_DENIED"),
        (Invalid("field_not_allowed", "No."), 400, "INVALID_ARGUMENT"),
        (Missing("model_not_found", "No."), 404, "NOT_FOUND"),
        (Unauthorized("token_missing", "No."), 401, "UNAUTHENTICATED"),
        (UpstreamFailed("No.", answered=500), 502, "UNAVAILABLE"),
        (Fault("internal_error", "No."), 500, "INTERNAL"),
    ],
)
def test_a_refusal_is_googles_error_with_our_words(fault: Fault, status: int, name: str) -> None:
    answered, body = GEMINI.refusal(fault)
    error = json.loads(body)["error"]
    assert (answered, error["code"], error["status"]) == (status, status, name)
    assert error["message"] == f"{fault.message} {fault.hint}".strip()
    assert error["details"] == [
        {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": fault.code, "domain": "preloop"}
    ]


def test_how_long_to_wait_is_told_where_gemini_cli_reads_it() -> None:
    status, body = GEMINI.refusal(Limited("Too many.", 7))
    assert status == 429
    assert json.loads(body)["error"]["details"][1] == {
        "@type": "type.googleapis.com/google.rpc.RetryInfo",
        "retryDelay": "7s",
    }


def test_the_body_names_no_other_model() -> None:
    for name in ("default", "models/default"):
        assert "model" not in DIALECT.passed(read(asked(model=name)), "m", 9)
    with pytest.raises(Invalid):
        GEMINI.parse(asked(model="other"), HERE)
