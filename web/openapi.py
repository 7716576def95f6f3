"""One list of operations makes both the REST routes and /api/openapi.json, so that neither can lie about the other."""

import hashlib
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from control.identity import repeats
from control.identity.principals import Person, Role
from kit.errors import Fault, Invalid
from web import auth, inputs, shapes
from web.parts import parts

Answer = BaseModel | Response
REF = "#/components/schemas/{model}"
REFUSALS = {
    400: "The request or its cursor can't be read",
    401: "Nobody is signed in, or the token is worth nothing",
    403: "Not with this role, or not from another site's page",
    404: "There is no such thing, or it is not yours",
    409: "Somebody else was first, or it is final",
    412: "It is not what If-Match or If-None-Match say",
    413: "The body is too large",
    421: "This server does not answer to that name",
    422: "The input is wrong; the hint says what would do",
    429: "More than is taken now; Retry-After says when to come again",
    500: "Something went wrong on our side",
    503: "A part that is needed does not answer",
}
"""What each status of a problem means (RFC 9457)."""
MADE = 201
ALWAYS = (400, 401, 403, 413, 421, 422, 500)
"""What any operation may answer."""
_COUNT = {"type": "integer", "minimum": 0, "maximum": 10**12 - 1}
QUERY: dict[str, dict[str, Any]] = {
    "limit": _COUNT | {"description": "Items of a page; at most 200 come at once, and never none."},
    "after": _COUNT,
    "version": _COUNT,
    "dry_run": {"type": "boolean"},
    "cursor": {"type": "string", "description": "`next` of the page before, as it was."},
    "since": {"type": "string", "description": "24h, 30m, 7d, or a time as RFC 3339."},
}
"""What is known of a name wherever a query has it; any other is a string."""
HEADERS = {
    "If-Match": 'The version it must have, as "3", or *.',
    "If-None-Match": "* where there must be none yet.",
    "Idempotency-Key": "The same key again, within a day, makes nothing more: it gives the first answer, or 409 where "
    "that held a secret.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method on one path below /api/v1; `{name:path}` may hold slashes."""

    method: str
    path: str
    summary: str
    run: Callable[[Request, Person], Awaitable[Answer]]
    answers: type[BaseModel] | None
    """None where it answers nothing but `files`."""
    takes: type[BaseModel] | tuple[str, ...] | None = None
    """A JSON body, or the media types of another one."""
    role: Role = Role.VIEWER
    status: int = 200
    creates: bool = False
    """Then what was not there before is answered with 201."""
    secret: bool = False
    """It answers what is shown once: a repetition with the same `Idempotency-Key` is refused, not answered again."""
    files: tuple[str, ...] = ()
    """Media types that it answers in too, for whoever accepts them rather than JSON."""
    query: Sequence[str] = ()
    headers: Sequence[str] = ()
    """Of `HEADERS`, those that it heeds."""
    refuses: Sequence[int] = ()
    """Statuses of `REFUSALS` beyond what follows from the rest."""


def routes(operations: Sequence[Operation]) -> list[Route]:
    return [Route("/api/v1" + op.path, _endpoint(op), methods=[op.method]) for op in operations]


def _endpoint(op: Operation) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        someone = await auth.person(request)
        auth.need(someone, op.role)
        if unknown := sorted(set(request.query_params) - set(op.query)):
            known = ", ".join(op.query) or "none"
            raise Invalid("query_unknown", f"{op.path} knows no {unknown[0][:40]!r}.", f"It takes: {known}.")
        answer = await (_once if op.status == MADE else _text)(op, request, someone)
        if isinstance(answer, Response):
            return answer
        return Response(answer, op.status, media_type="application/json")

    return endpoint


async def _text(op: Operation, request: Request, person: Person) -> str | Response:
    answer = await op.run(request, person)
    return answer if isinstance(answer, Response) else answer.model_dump_json()


async def _once(op: Operation, request: Request, person: Person) -> str | Response:
    """What makes something makes it once for an `Idempotency-Key`; a refusal leaves the key free."""
    key, db = inputs.once(request, person.user_id), parts(request).db
    if key is None:
        return await _text(op, request, person)
    hashed, body = key.removeprefix("key:"), hashlib.sha256(await request.body()).hexdigest()
    known = await db.write(lambda tx: repeats.claim(tx, person.account_id, hashed, body))
    if known is not None:
        return known
    try:
        answer = await _text(op, request, person)
    except Fault as fault:
        if fault.code != "commit_unknown":  # else it may have been made
            await db.write(lambda tx: repeats.release(tx, hashed))
        raise
    if isinstance(answer, str) and not op.secret:
        await db.write(lambda tx: repeats.keep(tx, hashed, answer))
    return answer


def document(operations: Sequence[Operation], url: str) -> dict[str, Any]:
    """OpenAPI 3.1 of the operations."""
    models = {op.answers for op in operations if op.answers} | {
        op.takes for op in operations if isinstance(op.takes, type)
    }
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
            "responses": {str(status): _problem(text, schema) for status, text in REFUSALS.items()},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": auth.named(secure=url.startswith("https:"))},
            },
        },
    }


def _problem(text: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": text, "content": {"application/problem+json": {"schema": schema[shapes.Problem.__name__]}}}


def _refusals(op: Operation) -> list[int]:
    """The statuses of problems that an operation may answer."""
    named = [404] if "{" in op.path else []
    changes = [409] if op.method != "GET" else []
    unmet = [412] if "If-Match" in op.headers else []
    return sorted({*ALWAYS, *named, *changes, *unmet, *op.refuses})


def _parameters(op: Operation) -> Iterator[dict[str, Any]]:
    for name in re.findall(r"{(\w+)", op.path):
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    for name in op.query:
        yield {"name": name, "in": "query", "required": False, "schema": QUERY.get(name, {"type": "string"})}
    for name in (*op.headers, *(["Idempotency-Key"] if op.status == MADE else [])):
        known = {"type": "string", "description": HEADERS[name]}
        yield {"name": name, "in": "header", "required": False, "schema": known}


def _described(op: Operation, schema: dict[str, Any]) -> dict[str, Any]:
    answer = {"application/json": {"schema": schema[op.answers.__name__]}} if op.answers else {}
    answer |= {media: {"schema": {"type": "string"}} for media in op.files}
    statuses = [op.status, *([201] if op.creates else [])]
    found: dict[str, Any] = {
        "operationId": op.run.__name__,
        "summary": op.summary,
        "parameters": list(_parameters(op)),
        "responses": {
            **{str(status): {"description": "OK", "content": answer} for status in statuses},
            **{str(status): {"$ref": f"#/components/responses/{status}"} for status in _refusals(op)},
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
