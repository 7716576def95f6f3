"""Every list that names all packages names all of them."""

import re

from tests.house.plan import PACKAGES, ROOT, project


def test_the_build_the_linters_and_the_contracts_know_every_package() -> None:
    tool = project()["tool"]
    assert tuple(tool["hatch"]["build"]["targets"]["wheel"]["packages"]) == PACKAGES
    assert tuple(tool["importlinter"]["root_packages"]) == PACKAGES
    assert set(PACKAGES) <= set(tool["ruff"]["lint"]["isort"]["known-first-party"])
    assert set(PACKAGES) <= set(tool["deptry"]["known_first_party"])


def test_the_image_holds_every_package() -> None:
    copied = re.findall(r"^COPY (\w+) \1$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    let_in = re.findall(r"^!([a-z_]+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    assert set(PACKAGES) <= set(copied)
    assert set(copied) <= set(let_in)


def test_the_floors_of_the_picture_are_the_folders() -> None:
    table = re.findall(r"^\| `(\w+)` \|", (ROOT / "ARCHITECTURE.md").read_text(), re.MULTILINE)
    assert sorted(table) == sorted(PACKAGES)
    assert all((ROOT / package / "__init__.py").exists() for package in PACKAGES)
