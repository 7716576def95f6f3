"""The command line. Commands that serve live here; the nouns that ask a plane are in `preloop/nouns`.

Exit codes: 0 ok, 1 done and the answer is no, 2 usage, 3 refused, 4 not reachable, 5 this machine can't run it, 130
interrupted.
"""

import sys
from pathlib import Path
from typing import Annotated, Any

import anyio
import typer

from kit import canonical, observe
from kit.errors import Fault, Invalid
from preloop import admin, nouns, policy, show, tools
from preloop.client import Client
from preloop.settings import DemoSettings, load

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="An open control plane for agents: gated tools, metered models, people who approve.",
)
for name, group in {**nouns.GROUPS, **policy.GROUPS, **admin.GROUPS, **tools.GROUPS}.items():
    app.add_typer(group, name=name)
app.command()(admin.spend)
app.command()(admin.doctor)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Config = Annotated[Path | None, typer.Option(help="The settings file; default preloop.toml in this folder.")]
Data = Annotated[Path | None, typer.Option(help="The data folder; default ./.preloop.")]
NOT_YET = {
    "serve": "separate roles",
    "models": "checks",
    "budgets": "lists",
}


@app.command()
def up(config: Config = None, data: Data = None, port: Annotated[int | None, typer.Option()] = None) -> None:
    """Serve the control plane: pages, REST, hooks, MCP, the model gateway and a runner, in one process."""
    settings = load(config=config, data=data)
    if port is not None:
        server = settings.server.model_copy(update={"port": port})
        settings = settings.model_copy(update={"server": server})
    observe.configure(settings.log_level)
    from preloop import serve  # decision 0006: only the commands that serve pay for what serves

    run_async(serve.up, settings)


@app.command()
def demo() -> None:
    """Run the main job once: an event, an agent, a gated tool, a person's yes. No key, no Docker."""
    observe.configure("error")
    from preloop import demo as demonstration  # decision 0006

    raise typer.Exit(run_async(demonstration.run, DemoSettings()))


@app.command()
def run(
    flow: Annotated[str, typer.Argument(help="The flow's name.")],
    payload: Annotated[str | None, typer.Option(help="A file with the event's JSON, or - for stdin.")] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Stay until it ends and print its log.")] = False,
    json_: Json = False,
) -> None:
    """Start an execution of a flow."""
    event = _payload(payload)
    client = Client.find()
    started = client.post(f"/flows/{flow}/executions", {"payload": event})
    if not follow:
        show.as_json(started) if json_ else show.out.print(started["execution_id"])
        show.talk.print(f"Watch it at {started['url']}")
        return
    show.talk.print(f"Watch it at {started['url']}")
    raise typer.Exit(nouns.follow_to_end(client, started["execution_id"], json_wanted=json_))


@app.command(name="settings")
def settings_(config: Config = None, json_: Json = True) -> None:
    """Print the settings that are in force as JSON, secrets masked."""
    show.as_json(load(config=config).model_dump(mode="json"))


def _absent(name: str, what: str) -> None:
    @app.command(name=name, hidden=True, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
    def absent() -> None:
        raise Invalid(
            "not_supported_yet", f"`preloop {name}` ({what}) is not built yet.", "CHANGELOG.md lists what is."
        )


for absent_name, absent_what in NOT_YET.items():
    _absent(absent_name, absent_what)


def _payload(named: str | None) -> Any:  # noqa: ANN401 - a JSON value
    if named is None:
        return {}
    try:
        text = sys.stdin.buffer.read() if named == "-" else Path(named).read_bytes()
    except OSError as error:
        raise Invalid(
            "payload_unreadable", f"{named} can't be read: {error.strerror}.", "--payload takes a file or -."
        ) from error
    return canonical.parse(text)


def run_async(work: Any, *args: Any) -> Any:  # noqa: ANN401 - any coroutine function
    return anyio.run(work, *args, backend_options={"use_uvloop": sys.platform != "win32"})


def main() -> None:
    """The entry point: every Fault becomes a sentence, a hint and its exit code."""
    try:
        code = app(prog_name="preloop", standalone_mode=False) or 0
    except typer.TyperException as misused:
        if told := misused.format_message():
            show.talk.print(f"Error: {told}", style="red", markup=False)
        code = 2
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except (Fault, BaseExceptionGroup) as error:
        fault = _first(error)
        show.fault(fault, json_wanted="--json" in sys.argv)
        code = fault.exit_code
    sys.exit(code)


def _first(error: BaseException) -> Fault:
    """The Fault inside of a task group's exception; anything else is a bug and stays a traceback."""
    inner = error
    while isinstance(inner, BaseExceptionGroup):
        inner = inner.exceptions[0]
    if not isinstance(inner, Fault):
        raise error
    return inner
