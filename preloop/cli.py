"""The command line. Commands that serve live here; those that ask a plane, and the machine's own, are in
`preloop/commands`.

Exit codes: 0 ok, 1 done and the answer is no, 2 usage, 3 refused, 4 not reachable, 5 this machine can't run it, 130
interrupted.
"""

import os
import socket
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import anyio
import typer

from kit.errors import Fault, Invalid
from preloop import inherited, show
from preloop.client_settings import DemoSettings
from preloop.commands import (
    approvals,
    audit,
    budgets,
    doctor,
    executions,
    flows,
    images,
    migrate,
    models,
    policy,
    sessions,
    settings,
    spend,
    tokens,
    tools,
    users,
    webhooks,
)
from preloop.commands.options import Config
from preloop.roles import Role

if TYPE_CHECKING:
    from preloop.settings import Settings

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="An open control plane for agents: gated tools, metered models, people who approve.",
)
NOUNS = {
    "flows": flows.app,
    "executions": executions.app,
    "approvals": approvals.app,
    "policy": policy.app,
    "users": users.app,
    "tokens": tokens.app,
    "sessions": sessions.app,
    "webhooks": webhooks.app,
    "images": images.app,
    "audit": audit.app,
    "tools": tools.app,
    "budgets": budgets.app,
    "models": models.app,
    "spend": spend.app,
}
for name, group in NOUNS.items():
    app.add_typer(group, name=name)
app.command()(doctor.doctor)
app.command()(migrate.migrate)

Data = Annotated[Path | None, typer.Option(help="The data folder; default ./.preloop.")]
Port = Annotated[int | None, typer.Option(help="Where people come in; default 8080.")]


@app.command()
def up(
    config: Config = None,
    data: Data = None,
    port: Port = None,
    supervise: Annotated[
        bool, typer.Option("--supervise", help="Keep the ports open and start again when the plane dies.")
    ] = False,
) -> None:
    """Serve the control plane: pages, REST, hooks, MCP, the model gateway and a runner, in one process."""
    found, given = _placed(config, data, {"port": port})
    if supervise:
        from preloop import supervise as parent  # decision 0006

        given = parent.hold(found, given)  # returns in each child
    from preloop import serve  # decision 0006: only the commands that serve pay for what serves

    run_async(serve.up, found, print, given)


@app.command(name="serve")
def serve_(
    roles: Annotated[list[Role], typer.Argument(help="What this process serves.")],
    config: Config = None,
    data: Data = None,
    port: Port = None,
    container_port: Annotated[int | None, typer.Option(help="Where containers come in; default 8081.")] = None,
) -> None:
    """Serve some roles of a control plane; processes of the others share its data folder and database."""
    found, given = _placed(config, data, {"port": port, "container_port": container_port})
    from preloop import serve  # decision 0006

    run_async(serve.up, found, print, given, frozenset(roles))


def _placed(
    config: Path | None, data: Path | None, ports: dict[str, int | None]
) -> tuple["Settings", dict[str, socket.socket]]:
    """The settings with the ports of the command line, and the sockets that somebody hands over."""
    from kit import observe  # decision 0006
    from preloop.settings import load, take_listen_variables

    found = load(config=config, data=data)
    server = found.server.model_copy(update={name: port for name, port in ports.items() if port is not None})
    observe.configure(found.log_level)
    return found.model_copy(update={"server": server}), inherited.take(take_listen_variables(), os.getpid())


@app.command()
def demo() -> None:
    """Run the main job once: an event, an agent, a gated tool, a person's yes. No key, no Docker."""
    from kit import observe  # decision 0006

    observe.configure("error")
    from preloop import demo as demonstration

    raise typer.Exit(run_async(demonstration.run, DemoSettings()))


app.command()(executions.run)


app.command(name="settings")(settings.settings)


def run_async(work: Any, *args: Any) -> Any:  # noqa: ANN401 - any coroutine function
    return anyio.run(work, *args, backend_options={"use_uvloop": sys.platform != "win32"})


def main() -> None:
    """The entry point: every Fault becomes a sentence, a hint and its exit code."""
    if isinstance(sys.stdout, TextIOWrapper):  # a line is there when it is said, also in a journal or a pipe
        sys.stdout.reconfigure(line_buffering=True)
    try:
        code = app(prog_name="preloop", standalone_mode=False) or 0
    except typer.TyperException as misused:
        code = _misused(misused)
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except (Fault, BaseExceptionGroup) as error:
        fault = _first(error)
        show.fault(fault, json_wanted="--json" in sys.argv)
        code = fault.exit_code
    sys.exit(code)


def _misused(error: typer.TyperException) -> int:
    """Words that are no command; a group without one has shown its help already."""
    context = getattr(error, "ctx", None)
    if told := error.format_message():
        help_ = f"`{context.command_path if context else 'preloop'} --help` says what there is."
        show.fault(Invalid("usage", told, help_), json_wanted="--json" in sys.argv)
    return 2


def _first(error: BaseException) -> Fault:
    """The Fault inside of a task group's exception; anything else is a bug and stays a traceback."""
    inner = error
    while isinstance(inner, BaseExceptionGroup):
        inner = inner.exceptions[0]
    if not isinstance(inner, Fault):
        raise error
    return inner
