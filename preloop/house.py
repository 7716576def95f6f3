"""Settings to a house that stands: database, keys, domain, doors, worker. Nothing listens yet; that is
`preloop/serve`."""

import secrets
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from control.approvals import desk as desks
from control.approvals.desk import Desk
from control.approvals.notices import Notice
from control.executions import ended, retries
from control.executions.lifecycle import Ending, Lifecycle
from control.executions.states import Cause
from control.identity import accounts, sessions
from control.identity.plans import Plan
from control.tables import flows
from kit.blobs import Blobs
from kit.bus import Bus
from kit.db import Database, Tx
from kit.db_heard import Heard
from kit.errors import Fault, Unsuitable
from kit.ids import new_id
from kit.metrics import Gauge
from kit.observe import log
from kit.outbound import Outbound
from kit.secrets import Sealer
from kit.tokens import Signer, write_private
from mcp_server.catalog import complain
from preloop.database import alone, held, open_database, prepare_folder
from preloop.planes import seen
from preloop.roles import ALL, Role
from preloop.settings import Settings
from preloop.steps import Plane
from preloop.storing import open_blobs
from preloop.telemetry import open_exporter
from preloop.tracing import traced
from runner.bwrap import SOCKET, BwrapEngine
from runner.docker import DockerEngine
from runner.docker_network import PLANE_HOST
from runner.engine import Engine
from runner.kubernetes import KubernetesEngine
from runner.kubernetes_box import Cluster
from runner.kubernetes_door import KubernetesDoor
from runner.process import ProcessEngine
from runner.settings import RunnerSettings
from runner.swarm import SwarmEngine
from runner.swarm_box import Swarm

SERVED = Gauge("preloop_role", "1 for each role that this process serves.", "role")
Say = Callable[[str], None]
"""Where `up` talks to the person in front of it."""
Console = Callable[[Notice], None]
"""Where the `console` channel delivers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """The parts that doors, worker and chores share."""

    settings: Settings
    db: Database
    bus: Bus
    blobs: Blobs
    signer: Signer | None
    """Of who makes tokens, role `mcp`; the others know its public half from the database."""
    sealer: Sealer
    """Of role `web`; elsewhere it opens nothing."""
    lifecycle: Lifecycle
    desk: Desk
    outbound: Outbound
    instance: str
    admin_id: str
    roles: frozenset[Role]
    say: Say
    console: Console


@asynccontextmanager
async def open_house(
    settings: Settings, say: Say, console: Console, roles: frozenset[Role] = ALL
) -> AsyncIterator[House]:
    """Everything checked and opened; closed again in the reverse order."""
    prepare_folder(settings.data)
    bus = Bus()
    url = settings.database.get_secret_value() if settings.database else None
    async with AsyncExitStack() as stack:
        stack.enter_context(held(settings.data, roles))
        async with alone(settings.data):
            seen_as = Plane(id=new_id("pln"), roles=" ".join(sorted(roles)))
            db = Heard(await open_database(settings.data, url, bus, plane=seen_as))
            stack.push_async_callback(db.close)
            await stack.enter_async_context(seen(db, seen_as.id))
            signer = Signer.open(settings.data / "keys" / "signing.pem") if Role.MCP in roles else None
            sealer = await _sealer(settings, db) if Role.WEB in roles else Sealer.fresh()
            instance = _instance(settings.data)
            admin_id = await db.write(lambda tx: _settle_in(tx, signer, settings.plan_list()))
        await stack.enter_async_context(traced(db, open_exporter(settings, roles, instance)))
        for role in roles:
            SERVED.put(1, role)
        outbound = Outbound(private_hosts=settings.notify.private_hosts)
        stack.push_async_callback(outbound.close)
        lifecycle = Lifecycle([desks.withdraw, _revoke, retries.retrying(), _teller(settings)])
        yield House(
            settings=settings,
            db=db,
            bus=bus,
            blobs=open_blobs(settings, roles),
            signer=signer,
            sealer=sealer,
            lifecycle=lifecycle,
            desk=Desk(settings.directory(), lifecycle, complain),
            outbound=outbound,
            instance=instance,
            admin_id=admin_id,
            roles=roles,
            say=say,
            console=console,
        )


async def _sealer(settings: Settings, db: Database) -> Sealer:
    """With the keys of the settings or the data folder; Unsuitable if they open nothing of this database."""
    given = settings.server.seal_key
    path = settings.data / "keys" / "seal.key"
    try:
        sealer = Sealer(given.get_secret_value().encode().split()) if given else Sealer.open(path)
        for sealed in await db.read(sa.select(flows.c.hook_secret).limit(1)):
            sealer.unseal(sealed.hook_secret)
    except (Fault, ValueError) as wrong:
        raise Unsuitable(
            "seal_broken",
            f"{'server.seal_key' if given else path} does not open this database's secrets: {wrong}.",
            "Give this process the key of those that serve pages already, as PRELOOP_SERVER__SEAL_KEY_FILE.",
        ) from wrong
    return sealer


def _settle_in(tx: Tx, signer: Signer | None, plans: Mapping[str, Plan]) -> str:
    """What a fresh database needs; returns the first admin's id."""
    accounts.ensure_default(tx)
    accounts.follow_plan(tx, accounts.DEFAULT, plans)
    if signer:
        sessions.publish_key(tx, accounts.DEFAULT, signer)
    return accounts.first_admin(tx, accounts.DEFAULT)


def _revoke(tx: Tx, ended: Row[Any], cause: Cause | None) -> None:
    """An ending: the run's session dies with it."""
    if ended.session_id:
        sessions.revoke(tx, ended.session_id)


def _teller(settings: Settings) -> Ending:
    """An ending: whoever is to hear of it will."""

    def tell(tx: Tx, row: Row[Any], cause: Cause | None) -> None:
        ended.queue(tx, row, settings.notify.on_end)

    return tell


def _instance(folder: Path) -> str:
    """A short name of this data folder's own: it marks what we made on an engine that others use too."""
    path = folder / "instance"
    if not path.exists():
        write_private(path, secrets.token_hex(4).encode())
    return path.read_text().strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where agents run."""

    engine: Engine
    gateway: str | None = None
    """The host's address on the containers' network; None when agents are processes of this machine."""
    host: str = "127.0.0.1"
    """What agents call this machine."""
    door: Path | None = None
    """The unix socket by which agents without a network reach the containers' listener."""
    said: str = ""
    """What was picked, for whoever starts us."""


@asynccontextmanager
async def open_engine(settings: Settings, roles: frozenset[Role] = ALL) -> AsyncIterator[Place | str]:
    """The engine that settings name, or Unsuitable; the runner alone opens it. For `auto` the first that proves that it
    isolates, Docker before bubblewrap; else why there is none."""
    if Role.RUNNER not in roles:
        yield "no engine: this process starts no agents."
        return
    choice, reasons = settings.runner.engine, []
    async with AsyncExitStack() as stack:
        for name in ("docker", "bwrap") if choice == "auto" else (choice,):
            try:
                place = await _opened(settings, name, stack)
            except Unsuitable as fault:
                if choice != "auto":
                    raise
                log.warning("no engine", engine=name, why=fault.message)
                reasons.append(fault.message)
            else:
                yield place
                return
        yield f"no engine: {' '.join(reasons)}"


def host_address(settings: Settings, roles: Collection[Role], place: Place | str) -> str | None:
    """The host's address on the containers' network, where who has their doors stands too; without the runner as
    settings have it, since its network is made by the runner, and perhaps later."""
    if isinstance(place, Place):
        return place.gateway
    runner = settings.runner
    doors = Role.RUNNER not in roles and {Role.MCP, Role.GATEWAY} & set(roles)
    here = runner.engine in {"auto", "docker"} and not runner.door
    return str(runner.network[1]) if doors and here else None


async def _opened(settings: Settings, name: str, stack: AsyncExitStack) -> Place:
    runner, runs = settings.runner, settings.data / "runs"
    if name == "process":
        engine = await stack.enter_async_context(ProcessEngine(runs))
        return Place(engine=engine, said="Agents run as processes of this user: nothing isolates them.")
    if name == "bwrap":
        door = settings.data / "door"
        sandboxes = BwrapEngine(runs, door=door, port=settings.server.container_port)
        await stack.enter_async_context(sandboxes)
        said = "Agents run in bubblewrap sandboxes: no network; memory is limited per process, processors are not."
        return Place(engine=sandboxes, door=door / SOCKET, said=said)
    if name == "kubernetes":
        kubernetes = await stack.enter_async_context(_kubernetes(runner))
        return Place(engine=kubernetes, host=PLANE_HOST, said="Agents run in pods of a Kubernetes cluster.")
    if name == "swarm":
        swarm = await stack.enter_async_context(_swarm(runner))
        return Place(engine=swarm, host=PLANE_HOST, said="Agents run on the nodes of a Docker Swarm.")
    docker = DockerEngine(
        runner.docker_socket,
        subnet=runner.network,
        network=runner.network_name,
        door=str(runner.door or ""),
        agents=runner.agent_networks,
        runtime=runner.runtime or None,
    )
    await stack.enter_async_context(docker)
    here = None if runner.door else docker.outer.gateway
    return Place(engine=docker, gateway=here, host=PLANE_HOST, said="Agents run in Docker containers.")


def _kubernetes(runner: RunnerSettings) -> KubernetesEngine:
    told = runner.kubernetes
    cluster = Cluster(
        registry=told.registry,
        pull_secrets=told.pull_secrets,
        runtime_class=runner.runtime,
        node_selector=told.node_selector,
        tolerations=told.tolerations,
        disk_bytes=told.disk_mb << 20,
        grace_s=runner.stop_grace_s,
    )
    door = KubernetesDoor(told.namespace, kubeconfig=told.kubeconfig, context=told.context)
    return KubernetesEngine(door, cluster, plane=told.plane)


def _swarm(runner: RunnerSettings) -> SwarmEngine:
    told = runner.swarm
    where = Swarm(
        network=told.network, registry=told.registry, constraints=told.constraints, grace_s=runner.stop_grace_s
    )
    return SwarmEngine(runner.docker_socket, where)
