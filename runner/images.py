"""Making and listing the images of the agents. What goes into them is `recipes`; this file talks to the engine.

Each image is one layer on the one below it: a tar as `ADD rootfs.tar /` under images/NAME/local.Dockerfile, which the
oldest builder can read. A label holds the digest of all that went in; an image whose label matches is not made again.
"""

import io
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import IO

import anyio.to_thread

from kit.errors import Missing, Unsuitable
from runner import sbom
from runner.clis import IMAGES
from runner.docker_door import DockerDoor, unless
from runner.recipes import RECIPES
from runner.rootfs import Rootfs

SOCKET = "unix:///var/run/docker.sock"
CACHE = Path.home() / ".cache" / "preloop" / "images"
INPUTS_LABEL = "preloop.inputs"
SBOM_LABEL = "preloop.sbom"
"""Where in the image the list of its top layer is; those of the layers below lie beside it."""
_BUILD_TIMEOUT_S = 1800.0

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One of ours on an engine."""

    name: str
    id: str
    size_bytes: int


async def build(
    name: str, base: str | None = None, report: Report = print, *, url: str = SOCKET, cache: Path = CACHE
) -> str:
    """Make `preloop/NAME`, and what it stands on unless `base` names an image for that; returns its id.

    No agent reaches us without the relay, so that is made beside each. With a `base`, `base` itself is made by its
    ordinary Dockerfile (network and a package mirror needed).
    """
    if name not in RECIPES:
        raise Missing("image_unknown", f"There is no image {name!r}.", f"There are: {', '.join(RECIPES)}.")
    door = DockerDoor(url)
    await door.open()
    try:
        built = await _build(door, name, base, report, cache)
        if name not in ("base", "relay"):
            await _build(door, "relay", None if base else tag("base"), report, cache)
        return built
    finally:
        await door.close()


async def images_list(*, url: str = SOCKET) -> tuple[Image, ...]:
    """Those of ours that the engine at `url` has."""
    door = DockerDoor(url)
    await door.open()
    try:
        async with door.asking("list images"):
            found = await door.ask.images.list(filters={"label": [INPUTS_LABEL]})
    finally:
        await door.close()
    return tuple(
        sorted(
            (
                Image(name=tag.removesuffix(":latest"), id=one["Id"], size_bytes=one["Size"])
                for one in found
                for tag in one["RepoTags"] or ()
            ),
            key=lambda image: image.name,
        )
    )


async def _build(door: DockerDoor, name: str, base: str | None, report: Report, cache: Path) -> str:
    recipe = RECIPES[name]
    if recipe.on is None and base is not None:
        return await _build_ordinary(door, name, base, report)
    below = base or "scratch"
    if recipe.on and base is None:
        await _build(door, recipe.on, None, report, cache)
        below = tag(recipe.on)
    report(f"{name}: gathering its parts")
    root = await anyio.to_thread.run_sync(recipe.gather, cache)
    await anyio.to_thread.run_sync(partial(sbom.add, root, name, ours=IMAGES))
    dockerfile = (IMAGES / name / "local.Dockerfile").read_bytes()
    standing = "scratch" if below == "scratch" else await _id(door, below)
    if standing is None:
        raise Missing("image_missing", f"There is no image {below} to build on.")
    digest = await anyio.to_thread.run_sync(root.digest)
    inputs = sha256("\n".join((digest, sha256(dockerfile).hexdigest(), standing)).encode()).hexdigest()
    if known := await _id(door, tag(name), inputs):
        report(f"{name}: up to date")
        return known
    report(f"{name}: building on {below}")
    with tempfile.TemporaryFile() as context:
        await anyio.to_thread.run_sync(_pack, context, dockerfile, root)
        return await _send(door, name, context, {"BASE": below}, inputs, report)


async def _build_ordinary(door: DockerDoor, name: str, base: str, report: Report) -> str:
    report(f"{name}: building on {base}")
    dockerfile = (IMAGES / name / "Dockerfile").read_bytes()
    with tempfile.TemporaryFile() as context:
        _pack(context, dockerfile, None)
        return await _send(door, name, context, {"BASE": base}, sha256(dockerfile + base.encode()).hexdigest(), report)


def _pack(context: IO[bytes], dockerfile: bytes, root: Rootfs | None) -> None:
    """What the builder is sent: a Dockerfile and the layer's tar."""
    with tarfile.open(fileobj=context, mode="w") as tar, tempfile.TemporaryFile() as layer:
        info = tarfile.TarInfo("Dockerfile")
        info.size = len(dockerfile)
        tar.addfile(info, io.BytesIO(dockerfile))
        if root:
            root.write(layer)
            info = tarfile.TarInfo("rootfs.tar")
            info.size = layer.tell()
            layer.seek(0)
            tar.addfile(info, layer)
    context.seek(0)


async def _send(
    door: DockerDoor, name: str, context: IO[bytes], arguments: dict[str, str], inputs: str, report: Report
) -> str:
    labels = {INPUTS_LABEL: inputs, "preloop.image": name, SBOM_LABEL: f"{sbom.FOLDER}/{name}.cdx.json"}
    before = await _id(door, tag(name))
    async with door.asking(f"build the image {name}", _BUILD_TIMEOUT_S):
        steps = door.stream.images.build(
            fileobj=context,
            encoding="identity",
            tag=tag(name),
            buildargs=arguments,
            labels=labels,
            forcerm=True,
            stream=True,
        )
        async for step in steps:
            if (said := str(step.get("stream", "")).strip()).startswith("Step"):
                report(f"{name}: {said}")
    built = await _id(door, tag(name), inputs)
    if built is None:
        raise Unsuitable("image_not_built", f"The engine ended the build of {name} without an image.")
    if before:
        async with door.asking("remove the image before it"):
            await unless(404, unless(409, door.ask.images.delete(before)))  # 409: something still stands on it
    return built


async def _id(door: DockerDoor, image: str, inputs: str | None = None) -> str | None:
    """None when there is no such image, or not of these inputs."""
    async with door.asking(f"look at the image {image}"):
        found = await unless(404, door.ask.images.inspect(image))
    if found is None or (inputs and (found["Config"]["Labels"] or {}).get(INPUTS_LABEL) != inputs):
        return None
    known: str = found["Id"]
    return known


def tag(name: str) -> str:
    return f"preloop/{name}"
