"""`up`: the whole control plane in one process, until a signal; `serve`: some of its roles. Sockets first, so that a
taken port costs nothing."""

import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import anyio
from anyio.abc import TaskGroup

from control.approvals.notices import Notice
from control.executions import queue
from control.flows.direct import Direct
from control.identity import accounts
from kit.db import Tx
from kit.errors import Invalid, Missing
from kit.redaction import Redactor
from kit.tokens import write_private
from preloop.channels import asker, open_channels, open_ends, way
from preloop.chores import Chores
from preloop.doors import Doors, open_doors
from preloop.house import Console, House, Place, Say, host_address, open_engine, open_house
from preloop.known_secrets import known_secrets
from preloop.listen import Served, bind, bind_unix, listening, opened, port_of, spare_collector
from preloop.roles import ALL, Role
from preloop.sending import Sender
from preloop.settings import Settings
from runner import relay
from runner.direct import Directs
from runner.docker import DockerEngine
from runner.docker_network import PLANE_HOST
from runner.parts import Parts
from runner.worker import Worker, attend

_EVERYWHERE = {"0.0.0.0", "::"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plane:
    """A control plane that listens. Whoever serves no pages has no sign-in link."""

    house: House
    url: str
    sign_in: str = ""
    said: str = ""
    """Where its agents run."""


@asynccontextmanager
async def plane(
    settings: Settings,
    say: Say = print,
    console: Console | None = None,
    given: Mapping[str, socket.socket] = {},
    roles: frozenset[Role] = ALL,
) -> AsyncIterator[Plane]:
    """Everything up inside of this context; agents that run when it ends go on and are adopted by the next.

    `given` are sockets that somebody else keeps open, by their names in `preloop/inherited`.
    """
    _need_told(settings, roles)
    direct = settings.opened_direct() if Role.RUNNER in roles else {}
    async with AsyncExitStack() as stack:
        people = opened(given, "people", settings.server.host, settings.server.port)
        stack.callback(people.close)
        inner = opened(given, "containers", settings.server.container_host, settings.server.container_port)
        stack.callback(inner.close)
        settings = _placed(settings, people, inner)
        place = await stack.enter_async_context(open_engine(settings, roles))  # a dead engine leaves no folder behind
        house = await stack.enter_async_context(open_house(settings, say, console or partial(_print_link, say), roles))
        sockets = [inner, *_ways_in(settings, place, roles)]
        doors = await stack.enter_async_context(open_doors(house, place))
        inside = Served(app=doors.containers, sockets=sockets, take=doors.take)
        await stack.enter_async_context(listening(Served(app=doors.people, sockets=[people]), inside))
        stack.callback(doors.drain)
        mcp_url, gateway_url = _addresses(settings, place, port_of(inner))
        if Role.RUNNER in roles:
            await _probe(house.instance, place, (mcp_url, gateway_url), say)
        tasks = await stack.enter_async_context(anyio.create_task_group())
        stack.callback(tasks.cancel_scope.cancel)
        _start_work(tasks, house, place, mcp_url, gateway_url, _directs(settings, direct, doors))
        said = place.said if isinstance(place, Place) and Role.RUNNER in roles else ""
        if Role.WEB not in roles:
            yield Plane(house=house, url=settings.server.url, said=said)
            return
        path = settings.data / "plane.json"
        sign_in = await _announce(house, path)
        stack.callback(_conceal, path)
        yield Plane(house=house, url=settings.server.url, said=said, sign_in=sign_in)


async def up(
    settings: Settings,
    say: Say = print,
    given: Mapping[str, socket.socket] = {},
    roles: frozenset[Role] = ALL,
) -> None:
    """Serve until SIGINT or SIGTERM."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with plane(settings, say, given=given, roles=roles) as running:
            spare_collector()
            if running.said:
                say(running.said)
            say(f"Preloop listens on {running.url}")
            if running.sign_in:
                say(f"Sign in (once, within 15 minutes): {running.sign_in}")
            async for _ in signals:
                going_on = "; agents that run go on and are taken up again at the next start."
                say(f"Stopping{going_on if Role.RUNNER in roles else '.'}")
                return


def _need_told(settings: Settings, roles: frozenset[Role]) -> None:
    """A runner whose agents find their tools and models in other processes is told where, role `web` its secrets."""
    if Role.WEB in roles and (missing := next(settings.untold(), None)):
        name = missing.upper().replace(".", "__")
        raise Invalid("settings_invalid", f"{missing} is not set.", f"Role web needs it: PRELOOP_{name}, or …_FILE.")
    runner = settings.runner
    for role, key, url in ((Role.MCP, "mcp_url", runner.mcp_url), (Role.GATEWAY, "gateway_url", runner.gateway_url)):
        if Role.RUNNER in roles and role not in roles and not url:
            raise Invalid(
                "settings_invalid",
                f"runner.{key} is not set, and this runner does not serve role {role} itself.",
                f"Set it to the containers' listener of role {role} as agents reach it, like http://preloop:8081 for "
                "containers and http://127.0.0.1:8081 for processes.",
            )


def _ways_in(settings: Settings, place: Place | str, roles: frozenset[Role]) -> Iterator[socket.socket]:
    """The sockets by which agents come who are not on this machine's loopback."""
    host = host_address(settings, roles, place)
    if host and settings.server.container_host not in _EVERYWHERE:
        yield bind(host, settings.server.container_port, coming=True)
    if isinstance(place, Place) and place.door:
        _need_own_doors(settings, roles)
        yield bind_unix(place.door)


def _need_own_doors(settings: Settings, roles: frozenset[Role]) -> None:
    """An agent without a network reaches the doors of this process only."""
    if {Role.MCP, Role.GATEWAY} <= roles and not settings.runner.mcp_url and not settings.runner.gateway_url:
        return
    raise Invalid(
        "settings_invalid",
        "Agents in bubblewrap reach tools and models in the runner's own process only.",
        "Serve the roles mcp, gateway and runner together, or set runner.engine to docker.",
    )


def _addresses(settings: Settings, place: Place | str, port: int) -> tuple[str, str]:
    """Where agents find role `mcp` and role `gateway`."""
    own = f"http://{place.host if isinstance(place, Place) else '127.0.0.1'}:{port}"
    return settings.runner.mcp_url or own, settings.runner.gateway_url or own


def _placed(settings: Settings, people: socket.socket, inner: socket.socket) -> Settings:
    """The settings with the ports as they are: port 0 is any free one."""
    server = settings.server.model_copy(update={"port": port_of(people), "container_port": port_of(inner)})
    return settings.model_copy(update={"server": server})


async def _probe(instance: str, place: Place | str, urls: tuple[str, str], say: Say) -> None:
    """Start the relay. Does a container reach us through it, and only through it? Asked once, at the start."""
    if isinstance(place, str):
        say(f"There is {place} Executions stay PENDING until one works; then start Preloop again.")
        return
    if isinstance(place.engine, DockerEngine):
        addresses = [address for url in urls if (address := urlsplit(url)).hostname == PLANE_HOST]
        try:
            await place.engine.lead(instance, {address.port or 80 for address in addresses})
            await place.engine.probe(relay.IMAGE, urls[0])
        except Missing as fault:
            say(f"No agent can start yet. {fault.message} `preloop images build scripted` makes it, and an agent's.")


def _directs(settings: Settings, keys: Mapping[str, Direct], doors: Doors) -> Directs:
    if doors.gateway is None:
        return Directs(keys=keys, covered=settings.covered)
    return Directs(keys=keys, covered=settings.covered, serves=doors.gateway.checks.serves)


def _start_work(
    tasks: TaskGroup, house: House, place: Place | str, mcp_url: str, gateway_url: str, directs: Directs
) -> None:
    tasks.start_soon(house.db.hear)
    if Role.RUNNER in house.roles:
        adopted = _start_worker(tasks, house, place, mcp_url, gateway_url, directs)
    else:
        adopted = anyio.Event()
        tasks.start_soon(_look_on, adopted)
    if house.roles & {Role.WEB, Role.RUNNER, Role.MCP}:
        chores = Chores(
            house.db,
            desk=house.desk,
            lifecycle=house.lifecycle,
            blobs=house.blobs,
            retention=house.settings.retention.rules(),
            logs_from=house.settings.storage.logs_from,
            max_pending=house.settings.server.max_pending,
        )
        if house.roles & {Role.WEB, Role.RUNNER}:
            chores.start(tasks, adopted)
        if Role.MCP in house.roles:
            chores.start_tidying(tasks)
    if Role.WEB in house.roles:
        sender = Sender(
            house.db,
            house.bus,
            desk=house.desk,
            channels=open_channels(house),
            public_url=house.settings.server.url,
            ends=open_ends(house),
        )
        tasks.start_soon(sender.run)


def _start_worker(
    tasks: TaskGroup, house: House, place: Place | str, mcp_url: str, gateway_url: str, directs: Directs
) -> anyio.Event:
    """Set when it had its chance to take over what was lost."""
    if isinstance(place, str):
        adopted = anyio.Event()
        adopted.set()
        tasks.start_soon(partial(attend, house.db, f"{house.instance}:none", problem=place))
        return adopted
    parts = Parts(
        db=house.db,
        bus=house.bus,
        blobs=house.blobs,
        lifecycle=house.lifecycle,
        engine=place.engine,
        engine_id=f"{place.engine.name}:{house.instance}",
        instance=house.instance,
        mcp_url=mcp_url,
        gateway_url=gateway_url,
        settings=house.settings.runner,
        directs=directs,
        redactor=Redactor(known_secrets(house.settings)),
    )
    worker = Worker(parts)
    tasks.start_soon(worker.work)
    return worker.adopted


async def _look_on(adopted: anyio.Event) -> None:
    """Workers are elsewhere, and may start when we do: whoever has not taken over what is theirs by then is lost."""
    await anyio.sleep(queue.UNADOPTED.total_seconds())
    adopted.set()


async def _announce(house: House, path: Path) -> str:
    """Leave the address and a token for this machine's command line; returns a sign-in link for the admin."""

    def issue(tx: Tx) -> tuple[str, str]:
        name = f"{accounts.LOCAL} {house.instance}"  # other data folders of the same database have theirs
        accounts.revoke_named(tx, accounts.DEFAULT, "api", name)
        token = accounts.issue(tx, house.admin_id, "api", lasts=None, name=name)
        return token, accounts.issue(tx, house.admin_id, "sign_in", lasts=accounts.SIGN_IN_FOR)

    token, sign_in = await house.db.write(issue)
    url = house.settings.server.url
    write_private(path, json.dumps({"url": url, "token": token, "pid": os.getpid()}).encode())
    return f"{url}/signin?token={sign_in}"


def _conceal(path: Path) -> None:
    """Take our address away, unless another process has left its own since."""
    if json.loads(path.read_bytes())["pid"] == os.getpid():
        path.unlink()


def _print_link(say: Say, notice: Notice) -> None:
    data = notice.data
    say(f"Approval needed from {data['approver']}: {data['tool']} ({asker(notice)}) {way(notice)}")
