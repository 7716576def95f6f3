"""What an image says is in it."""

import json
import sys
from importlib import metadata
from pathlib import Path

import pytest

from runner import recipes, sbom
from runner.clis import IMAGES, PROGRAMS
from runner.rootfs import Rootfs
from tests.components import need_program


def refs(document: dict[str, object]) -> set[str]:
    components = document["components"]
    assert isinstance(components, list)
    return {component["bom-ref"] for component in components}


def test_a_python_layer_names_its_distributions_and_the_interpreter(tmp_path: Path) -> None:
    found = sbom.document("scripted", recipes.scripted(tmp_path).sources(), ours=IMAGES)
    assert {
        f"pkg:pypi/mcp@{metadata.version('mcp')}",
        f"pkg:pypi/openai@{metadata.version('openai')}",
        f"pkg:generic/python@{sys.version.split()[0]}",
    } <= refs(found)
    assert not [ref for ref in refs(found) if "litellm" in ref or "agent.py" in ref]
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.6")


def test_a_file_that_no_package_owns_stands_for_itself(tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("x")
    root = Rootfs()
    root.file(tmp_path / "tool", "/usr/bin/tool")
    (component,) = sbom.document("mine", root.sources(), ours=IMAGES)["components"]
    assert (component["type"], component["name"]) == ("file", "/usr/bin/tool")
    assert component["hashes"][0]["content"].startswith(
        "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    )


def test_an_npm_package_has_the_hash_of_its_lock(tmp_path: Path) -> None:
    package = tmp_path / "node_modules" / "@scope" / "agent"
    package.mkdir(parents=True)
    (package / "package.json").write_text('{"name": "@scope/agent", "version": "1.2.3", "license": "MIT"}')
    (package / "run").write_text("x")
    packages = {"node_modules/@scope/agent": {"integrity": "sha512-" + "AAAA" * 2}}
    (tmp_path / "package-lock.json").write_text(json.dumps({"packages": packages}))
    root = Rootfs()
    root.file(package / "run", "/usr/local/bin/run")
    (component,) = sbom.document("agent", root.sources(), ours=IMAGES)["components"]
    assert component["purl"] == "pkg:npm/%40scope/agent@1.2.3"
    assert component["hashes"] == [{"alg": "SHA-512", "content": "00" * 6}]
    assert component["licenses"] == [{"license": {"name": "MIT"}}]


def test_it_is_in_the_layer_and_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    def layer() -> Rootfs:
        root = recipes.relay(tmp_path)
        sbom.add(root, "relay", ours=IMAGES)
        return root

    assert layer().digest() == layer().digest() != recipes.relay(tmp_path).digest()


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_package_of_an_agent_is_pinned_by_hash_and_at_no_address(name: str) -> None:
    lock = json.loads((IMAGES / name / "package-lock.json").read_text())
    packages = {path: package for path, package in lock["packages"].items() if path}
    assert packages
    for package in packages.values():
        assert package["integrity"].startswith("sha512-")
        assert "resolved" not in package


def test_what_comes_from_this_machine_is_named_by_its_package_or_its_path(tmp_path: Path) -> None:
    for program in ("busybox", "node"):
        need_program(program)
    found = sbom.document("base", recipes.base(tmp_path).sources(), ours=IMAGES)
    assert any(ref.startswith(("pkg:deb/debian/busybox", "/bin/busybox")) for ref in refs(found))
