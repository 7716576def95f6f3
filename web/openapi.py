"""One list of operations makes both the REST routes and /api/openapi.json, so that neither can lie about the other."""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from control.identity.principals import Person, Role
from kit.errors import Invalid
from web import auth, shapes

Answer = BaseModel | Response
REF = "#/components/schemas/{model}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method on one path below /api/v1; `{name:path}` may hold slashes."""

    method: str
    path: str
    summary: str
    run: Callable[[Request, Person], Awaitable[Answer]]
    answers: type[BaseModel]
    takes: type[BaseModel] | tuple[str, ...] | None = None
    """A JSON body, or the media types of another one."""
    role: Role = Role.VIEWER
    status: int = 200
    creates: bool = False
    """Then what was not there before is answered with 201."""
    files: tuple[str, ...] = ()
    """Media types that it answers in too, for whoever accepts them rather than JSON."""
    query: Sequence[str] = ()


def routes(operations: Sequence[Operation]) -> list[Route]:
    return [Route("/api/v1" + op.path, _endpoint(op), methods=[op.method]) for op in operations]


def _endpoint(op: Operation) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        someone = await auth.person(request)
        auth.need(someone, op.role)
        if unknown := sorted(set(request.query_params) - set(op.query)):
            known = ", ".join(op.query) or "none"
            raise Invalid("query_unknown", f"{op.path} knows no {unknown[0][:40]!r}.", f"It takes: {known}.")
        answer = await op.run(request, someone)
        if isinstance(answer, Response):
            return answer
        return Response(answer.model_dump_json(), op.status, media_type="application/json")

    return endpoint


def document(operations: Sequence[Operation], url: str) -> dict[str, Any]:
    """OpenAPI 3.1 of the operations."""
    models = {op.answers for op in operations} | {op.takes for op in operations if isinstance(op.takes, type)}
    ordered = sorted(models | {shapes.Problem}, key=lambda model: model.__name__)
    refs, definitions = models_json_schema([(model, "serialization") for model in ordered], ref_template=REF)
    schema = {model.__name__: ref for (model, _), ref in refs.items()}
    paths: dict[str, dict[str, Any]] = {}
    for op in operations:
        paths.setdefault("/api/v1" + op.path.replace(":path}", "}"), {})[op.method.lower()] = _described(op, schema)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Preloop", "version": "1"},
        "servers": [{"url": url}],
        "security": [{"token": []}, {"cookie": []}],
        "paths": paths,
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": auth.named(secure=url.startswith("https:"))},
            },
        },
    }


def _described(op: Operation, schema: dict[str, Any]) -> dict[str, Any]:
    answer = {"application/json": {"schema": schema[op.answers.__name__]}}
    answer |= {media: {"schema": {"type": "string"}} for media in op.files}
    statuses = [op.status, *([201] if op.creates else [])]
    names = [(name, "path") for name in re.findall(r"{(\w+)", op.path)] + [(name, "query") for name in op.query]
    found: dict[str, Any] = {
        "operationId": op.run.__name__,
        "summary": op.summary,
        "parameters": [
            {"name": name, "in": place, "required": place == "path", "schema": {"type": "string"}}
            for name, place in names
        ],
        "responses": {
            **{str(status): {"description": "OK", "content": answer} for status in statuses},
            "default": {
                "description": "What went wrong, RFC 9457",
                "content": {"application/problem+json": {"schema": schema[shapes.Problem.__name__]}},
            },
        },
    }
    if isinstance(op.takes, tuple):
        texts = {media: {"schema": {"type": "string"}} for media in op.takes}
        found["requestBody"] = {"content": texts, "required": True}
    elif op.takes is not None:
        found["requestBody"] = {"content": {"application/json": {"schema": schema[op.takes.__name__]}}}
    return found


def described(operations: Sequence[Operation], url: str) -> Route:
    async def openapi(request: Request) -> Response:
        return JSONResponse(document(operations, url))

    return Route("/api/openapi.json", openapi, methods=["GET"])
