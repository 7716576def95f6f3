"""What /api/openapi.json says of each operation is what it does: schemathesis asks it, well and badly, over a socket.

An answer below 500, with a status, a content type and a body that the document names, is all that is looked for here;
what an operation means is told in the files of its noun.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import anyio.from_thread
import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode, checks
from schemathesis.config import (
    ChecksConfig,
    GenerationConfig,
    ProjectConfig,
    ProjectsConfig,
    SchemathesisConfig,
)
from schemathesis.specs.openapi import checks as conformance

from control.identity.principals import Role
from tests.browser.scene import Scene, set_scene
from tests.serving import serving
from tests.web.test_models import Two
from tests.web.world import ORIGIN, open_world
from web import openapi
from web.app import ROOMS

EXAMPLES = 6
"""Requests of one operation that are good as the document has it, and as many that are not."""
LOOKS = [
    checks.not_a_server_error,
    conformance.status_code_conformance,
    conformance.content_type_conformance,
    conformance.response_headers_conformance,
    conformance.response_schema_conformance,
    conformance.negative_data_rejection,
]
"""Not looked for: that whatever has the right shape is taken, since an id of the right shape may be nobody's."""
_tried = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@dataclass(kw_only=True)
class Served:
    """The people's door on a port, and who asks."""

    url: str
    token: str
    names: dict[str, list[str]]
    """What there is, by the first step of its path."""

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with anyio.from_thread.start_blocking_portal() as portal:
        world = open_world(tmp_path_factory.mktemp("world"), upstreams=Two())
        with (
            portal.wrap_async_context_manager(world) as opened,
            portal.wrap_async_context_manager(serving(opened.app)) as url,
        ):
            scene: Scene = portal.call(set_scene, opened)
            token = portal.call(opened.token, Role.ADMIN, "api")
            names = {
                "executions": [scene.runs["SUCCEEDED"], scene.runs["WAITING_FOR_APPROVAL"]],
                "approvals": [scene.approval],
                "flows": ["process-payment"],
                "sessions": [scene.running.session_id],
                "senders": ["github", "gitlab"],
                "tools": ["payments"],
            }
            yield Served(url=url, token=token, names=names)


REFUSED = ["400", "401", "403", "404", "405", "409", "413", "415", "422"]
"""What may answer a request that is wrong; too long is wrong too."""


def schema() -> Any:
    generation = GenerationConfig(deterministic=True, with_security_parameters=False)
    project = ProjectConfig(
        generation=generation,
        checks=ChecksConfig.from_dict({"negative_data_rejection": {"expected-statuses": REFUSED}}),
    )
    config = SchemathesisConfig(projects=ProjectsConfig(default=project))
    document = openapi.document([operation for room in ROOMS for operation in room.operations], ORIGIN)
    return schemathesis.openapi.from_dict(document, config=config)


OPERATIONS = {found.ok().label: found.ok() for found in schema().get_all_operations()}


CAN_BE_WRONG = [label for label, operation in OPERATIONS.items() if list(operation.query) or list(operation.body)]
"""A path may hold any text, and so may a header."""


@pytest.mark.parametrize("label", OPERATIONS)
def test_what_is_asked_well_is_answered_as_the_document_says(served: Served, label: str) -> None:
    assert tried(served, OPERATIONS[label], GenerationMode.POSITIVE)


@pytest.mark.parametrize("label", CAN_BE_WRONG)
def test_what_is_asked_badly_is_refused_as_the_document_says(served: Served, label: str) -> None:
    assert tried(served, OPERATIONS[label], GenerationMode.NEGATIVE)


def tried(served: Served, operation: Any, mode: GenerationMode) -> int:
    """How many requests were made; an answer that is not as the document says raises."""
    asked = []

    @_tried
    @given(case=_cases(operation, mode, served))
    def ask(case: Case[Any]) -> None:
        answer = case.call(base_url=served.url, headers=served.headers)
        asked.append(answer.status_code)
        case.validate_response(answer, checks=LOOKS)

    ask()
    return len(asked)


def _cases(operation: Any, mode: GenerationMode, served: Served) -> st.SearchStrategy[Case[Any]]:
    """Of any name, and of those that are there."""
    found = [operation.as_strategy(mode)]
    for name in served.names.get(operation.path.split("/")[3], []):
        places = {place.name: name for place in operation.path_parameters}
        if places:
            found.append(operation.as_strategy(mode, path_parameters=places))
    return st.one_of(found)


ODD_NAMES = ("%00", "%ff", "a%00b", "%ed%a0%80", "%F0%9F%92%B8", "..%2f..", "%25", "0" * 3000)
ODD_BODIES = (
    b"\xff\xfe",
    b'{"a": "\\u0000"}',
    b'{"name": "\\ud800"}',
    b"\x00",
    b'{"days": 1' + b"0" * 400 + b"}",
    b'{"limit_usd": 1e999}',
    b"[" * 5000,
    b"null",
    b'"text"',
    b"{}{}",
)
ODD_QUERIES = (
    *("cursor=%00", "cursor=%ff", "cursor=WyIiXQ", "cursor=W10", "cursor=bnVsbA", "cursor=%F0%9F%92%B8"),
    *("limit=-1", "limit=1e3", "limit=999999999999", "limit=9999999999999", "limit=%D9%A3", "limit=1&limit=2"),
    *("after=-1", "after=999999999999", "version=0", "version=999999999999", "since=999999d", "since=0001-01-01"),
    *("since=9999-12-31T23:59:59-23:59", "since=%F0%9F%92%B8d", "since=%D9%A3d", "state=%00", "nobody=knows", "=", "&"),
    *("since=7d&until=0001-01-01", "since=1d&until=9999-12-31", "since=9999-12-31", "until=0001-01-01"),
)


@pytest.mark.parametrize("label", OPERATIONS)
def test_odd_bytes_are_refused_and_are_no_error_of_ours(served: Served, label: str) -> None:
    operation = OPERATIONS[label]
    documented = {int(status) for status in operation.responses.status_codes}
    method, path = operation.method.upper(), re.sub(r"\{\w+\}", "{}", operation.path)
    real = served.names.get(operation.path.split("/")[3], ["x"])[0]
    asked = [(path.replace("{}", name), b"") for name in ODD_NAMES if "{}" in path]
    asked += [(f"{path.replace('{}', real)}?{query}", b"") for query in ODD_QUERIES]
    asked += [(path.replace("{}", real), body) for body in ODD_BODIES if method != "GET"]
    with httpx.Client(base_url=served.url, headers=served.headers, trust_env=False) as http:
        found = {one: http.request(method, one[0], content=one[1]) for one in asked}
    wrong = {one: answer.text for one, answer in found.items() if answer.status_code not in documented - {500}}
    assert wrong == {}
    problems = [answer for answer in found.values() if answer.status_code >= 400]
    assert {answer.headers["content-type"] for answer in problems} <= {"application/problem+json"}
