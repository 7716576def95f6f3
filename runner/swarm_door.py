"""The door to a swarm: what is asked of a manager, through the client of any Docker Engine.

A manager that has no leader is silent, as one that does not answer. Knows no jobs.
"""

import base64
import json
from collections.abc import Mapping
from typing import Any

import aiohttp
from aiodocker import DockerError

from kit.errors import Fault, Unavailable, Unsuitable
from runner.docker_door import DockerDoor

_NO_LEADER = (500, 503)
_HISTORY = 2
"""Tasks that a swarm must keep of a service: the one that ended, and the one that has no place."""


class SwarmDoor:
    def __init__(self, url: str) -> None:
        self._door = DockerDoor(url)

    async def open(self) -> None:
        """Raises `Unsuitable` where the engine is no manager."""
        await self._door.open()
        try:
            swarm = await self.ask("tell of its swarm", "GET", "swarm")
            history = (swarm or {})["Spec"]["Orchestration"].get("TaskHistoryRetentionLimit", 0)
            if history < _HISTORY:
                raise Unsuitable(
                    "swarm_forgets",
                    f"This swarm keeps {history} ended tasks of a service: exit codes and output would be lost.",
                    "docker swarm update --task-history-limit 5",
                )
        except Fault as fault:
            await self.close()
            if isinstance(fault, Unsuitable):
                raise
            raise Unsuitable(
                "swarm_refuses",
                f"The engine at {self._door.url} is no manager of a swarm that works. {fault.message}",
                "`docker swarm init` makes one; `runner.docker_socket` names the engine of a manager.",
            ) from fault

    async def close(self) -> None:
        await self._door.close()

    async def ask(
        self,
        what: str,
        method: str,
        path: str,
        body: object = None,
        *,
        unless: tuple[int, ...] = (),
        filters: Mapping[str, list[str]] | None = None,
        **query: str,
    ) -> Any:  # noqa: ANN401 - the answer's JSON
        """None where the manager answers with a status of `unless`, or with nothing."""
        params = {**query, **({"filters": json.dumps(filters)} if filters else {})}
        data = None if body is None else json.dumps(body)
        async with self._door.asking(what):
            try:
                async with await self._door.ask._do_query(path, method, params=params, data=data) as response:
                    text = await response.text()
            except DockerError as exc:
                if exc.status in unless:
                    return None
                if exc.status in _NO_LEADER and ("leader" in exc.message or "deadline" in exc.message):
                    raise Unavailable("engine_unreachable", f"The swarm has no leader: {exc.message}") from exc
                raise
        return json.loads(text) if text.strip() else None

    async def open_log(self, task: str, *, since: str, follow: bool) -> aiohttp.ClientResponse | None:
        """The frames of a task's output, as a container's; None when there is no such task. The caller closes it."""
        asked = {"stdout": "true", "stderr": "true", "timestamps": "true", "since": since}
        async with self._door.asking(f"open the log of {task}"):
            try:
                return await self._door.stream._do_query(
                    f"tasks/{task}/logs",
                    "GET",
                    params={**asked, "follow": "true" if follow else "false"},
                    timeout=aiohttp.ClientTimeout(),
                )
            except DockerError as exc:
                if exc.status == 404:
                    return None
                raise

    async def task(self, id_: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = await self.ask(f"look at task {id_}", "GET", f"tasks/{id_}", unless=(404,))
        return found

    async def tasks(self, service: str) -> list[dict[str, Any]]:
        """Of a service by its name or id, also those that are over."""
        found = await self.ask(f"look at {service}", "GET", "tasks", filters={"service": [service]}, unless=(404,))
        return [*(found or ())]

    async def node(self, id_: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = await self.ask(f"look at node {id_}", "GET", f"nodes/{id_}", unless=(404,))
        return found

    async def service(self, name: str) -> dict[str, Any] | None:
        """By its whole name."""
        found: dict[str, Any] | None = await self.ask(f"look at {name}", "GET", f"services/{name}", unless=(404,))
        return found

    async def secrets(self, label: str) -> list[dict[str, Any]]:
        return [*(await self.ask("list secrets", "GET", "secrets", filters={"label": [label]}) or ())]

    async def services(self, label: str) -> list[dict[str, Any]]:
        return [*(await self.ask("list services", "GET", "services", filters={"label": [label]}) or ())]

    async def keep(self, name: str, labels: Mapping[str, str], data: bytes) -> str | None:
        """Make a secret; its id, or None when there is one of that name."""
        body = {"Name": name, "Labels": dict(labels), "Data": base64.b64encode(data).decode()}
        made = await self.ask(f"keep the files of {name}", "POST", "secrets/create", body, unless=(409,))
        return None if made is None else str(made["ID"])

    async def need_network(self, name: str) -> str:
        """Its id, if it is one that agents may be on."""
        found = await self.ask(f"look at the network {name}", "GET", f"networks/{name}", unless=(404,))
        make = f"docker network create --driver overlay --internal --attachable {name}"
        if found is None:
            raise Unsuitable("network_missing", f"This swarm has no network {name}, on which agents find us.", make)
        if (found["Driver"], found["Scope"], found["Internal"]) != ("overlay", "swarm", True):
            raise Unsuitable("network_open", f"The network {name} is no internal overlay: agents could leave it.", make)
        return str(found["Id"])
