"""What is in an image of ours, as CycloneDX 1.6 (https://cyclonedx.org/docs/1.6/json/), by where its files came from.

npm packages with the hash of their lock, Python distributions, packages of a Debian machine with their versions; a file
that nobody owns stands for itself, with its own hash. The same files give the same document: it has no time and no
serial number.
"""

import json
import shutil
import subprocess
import sys
import sysconfig
from base64 import b64decode
from collections.abc import Iterable, Mapping
from functools import cached_property
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import quote

from runner.rootfs import Rootfs

FOLDER = "/usr/share/preloop/sbom"
Component = dict[str, Any]


def add(root: Rootfs, name: str, *, ours: Path) -> None:
    """Put the document of a layer into it. `ours` is the folder of what this project brings."""
    root.text(f"{FOLDER}/{name}.cdx.json", json.dumps(document(name, root.sources(), ours=ours), indent=1) + "\n")


def document(name: str, sources: Mapping[str, Path], *, ours: Path) -> dict[str, Any]:
    """Of the files of a layer: path in the image → where it was taken from."""
    found: dict[str, Component] = {}
    python, rest = _Python(), {}
    for path, source in sources.items():
        part = _npm(source) or python.owner(source)
        if part is None and not source.is_relative_to(ours):
            rest[path] = source
        elif part is not None:
            found[part["bom-ref"]] = part
    for part in _of_this_machine(rest):
        found[part["bom-ref"]] = part
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": f"preloop/{name}"}},
        "components": [found[ref] for ref in sorted(found)],
    }


def _component(kind: str, name: str, version: str, *, license_: object = None, sha512: str = "") -> Component:
    purl = f"pkg:{kind}/{quote(name, safe='/')}@{quote(version)}"
    made: Component = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
    if isinstance(license_, str) and license_:
        made["licenses"] = [{"license": {"name": license_}}]
    if sha512:
        made["hashes"] = [{"alg": "SHA-512", "content": sha512}]
    return made


def _npm(source: Path) -> Component | None:
    """The package that a file below node_modules belongs to."""
    if "node_modules" not in source.parts:
        return None
    at = len(source.parts) - source.parts[::-1].index("node_modules")
    end = at + (2 if source.parts[at].startswith("@") else 1)
    folder, key = Path(*source.parts[:end]), "/".join(source.parts[at - 1 : end])
    told = json.loads((folder / "package.json").read_text())
    lock = json.loads((Path(*source.parts[: at - 1]) / "package-lock.json").read_text())["packages"]
    kind, _, value = lock.get(key, {}).get("integrity", "").partition("-")
    hash_ = b64decode(value).hex() if kind == "sha512" else ""
    return _component("npm", told["name"], told["version"], license_=told.get("license"), sha512=hash_)


class _Python:
    """This interpreter and what is installed for it."""

    def __init__(self) -> None:
        self._stdlib = Path(sysconfig.get_path("stdlib")).resolve()
        self._itself = _component("generic", "python", sys.version.split()[0])
        self._told: dict[metadata.Distribution, Component] = {}

    def owner(self, source: Path) -> Component | None:
        if {"site-packages", "dist-packages"} & set(source.parts):
            found = self._installed.get(str(source))
            return self._distribution(found) if found else None
        if source == Path(sys.executable).resolve() or source.is_relative_to(self._stdlib):
            return self._itself
        return None

    @cached_property
    def _installed(self) -> dict[str, metadata.Distribution]:
        """File → the distribution that brought it."""
        found: dict[str, metadata.Distribution] = {}
        for one in metadata.distributions():
            folder = Path(str(one.locate_file(""))).resolve()
            found |= {f"{folder}/{file}": one for file in one.files or ()}
        return found

    def _distribution(self, found: metadata.Distribution) -> Component:
        if found not in self._told:
            name, license_ = found.name.lower().replace("_", "-"), found.metadata.json.get("license_expression")
            self._told[found] = _component("pypi", name, found.version, license_=license_)
        return self._told[found]


def _of_this_machine(files: Mapping[str, Path]) -> Iterable[Component]:
    """Packages of Debian where they own the file, else the file."""
    owners = _owners(files.values())
    for path, source in files.items():
        if source in owners:
            name, version = owners[source]
            yield _component("deb", f"debian/{name}", version)
        else:
            hash_ = sha256(source.read_bytes()).hexdigest()
            hashes = [{"alg": "SHA-256", "content": hash_}]
            yield {"type": "file", "bom-ref": path, "name": path, "hashes": hashes}


def _owners(files: Iterable[Path]) -> dict[Path, tuple[str, str]]:
    """The package and version of each file that dpkg knows, also by the name it had before /lib moved into /usr."""
    if shutil.which("dpkg-query") is None:
        return {}
    names = {name: file for file in files for name in (str(file), str(file).removeprefix("/usr"))}
    said = _asked("-S", *names)
    owned = {names[path]: package for package, _, path in (line.partition(": ") for line in said) if path in names}
    versions = dict(line.split("\t") for line in _asked("-W", "-f", "${Package}\\t${Version}\\n"))
    plain = {file: package.split(",")[0].split(":")[0] for file, package in owned.items()}
    return {file: (package, versions[package]) for file, package in plain.items() if package in versions}


def _asked(*words: str) -> list[str]:
    ran = subprocess.run(["dpkg-query", *words], capture_output=True, text=True, check=False)
    return ran.stdout.splitlines()
