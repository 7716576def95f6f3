"""Pages from templates: autoescape on, an undefined name is an error, and every page knows who looks at it."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from control.identity.principals import Person
from kit.errors import Fault, Missing
from web import format as shown
from web import frame
from web.parts import parts

HERE = Path(__file__).parent
STATIC = HERE / "static"
BUILD = hashlib.sha256(b"".join(f.read_bytes() for f in sorted(STATIC.iterdir()) if f.is_file())).hexdigest()[:12]
"""Of all static files: part of their address, so that browsers may keep them for ever."""


def _pretty(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, sort_keys=False)


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "duration": shown.duration,
        "stamp": shown.stamp,
        "clock": shown.clock,
        "ago": shown.ago,
        "money": shown.money,
        "percent": shown.percent,
        "answer": shown.answer,
        "line": shown.line,
        "octets": shown.octets,
        "pieces": shown.pieces,
        "named": shown.named,
        "sentence": shown.sentence,
        "pretty": _pretty,
    }
    made.globals |= {
        "state_look": lambda word: shown.look(shown.STATES, word),
        "state_icon": shown.ICONS.__getitem__,
        "call_look": lambda word: shown.look(shown.CALLS, word),
        "approval_look": lambda word: shown.look(shown.APPROVALS, word),
        "rate_look": shown.rate,
        "risk_look": lambda word: shown.look(shown.RISKS, word),
        "pin_look": lambda word: shown.look(shown.PINS, word),
        "model_look": lambda word: shown.look(shown.MODELS, word),
        "static": lambda name: f"/static/{BUILD}/{name}",
    }
    return made


environment = _environment()
COUNT = "frame/count.html"
LIVE = frozenset(name for name in environment.list_templates() if name.endswith(("/live.html", "/preview.html")))


def page(
    request: Request, template: str, person: Person | None = None, *, status: int = 200, **values: object
) -> HTMLResponse:
    """Render a template for somebody. `?part=live` is only what changes: `execution.html` → `execution/live.html`, and
    what the sidebar counts."""
    part = request.query_params.get("part")
    name = f"{template.removesuffix('.html')}/{part}.html" if part else template
    if part and name not in LIVE:
        raise Missing("part_unknown", "This page has no such part.")
    names = [name, COUNT] if part else [name]
    return _rendered(request, names, status, person=person, **values)


def count_page(request: Request, person: Person) -> HTMLResponse:
    """What the sidebar counts, alone."""
    return _rendered(request, [COUNT], 200, person=person)


def fault_page(request: Request, fault: Fault, request_id: str) -> HTMLResponse:
    return _rendered(request, ["fault.html"], fault.status, person=None, fault=fault, request_id=request_id)


def _rendered(
    request: Request, names: Sequence[str], status: int, *, person: Person | None, **values: object
) -> HTMLResponse:
    now, around = parts(request).clock.now(), frame.around(request, person)
    values |= {"path": request.url.path, "now": now, "frame": around, "person": person}
    return HTMLResponse("".join(environment.get_template(name).render(values) for name in names), status)
