"""The published JSON schemas of Kubernetes, as PyPI's `kubernetes-validate` carries them. Strict: an unknown field is
wrong.

Its own `validate` reads 10 MB of definitions for every object; here they are read once for each version.
"""

import re
from functools import cache
from typing import Any

import jsonschema
from kubernetes_validate.utils import all_versions, schema_contents
from referencing import Registry, Resource

OLDEST, NEWEST = "1.29.0", all_versions()[-1]
"""Of the Kubernetes that we speak to, and of those that have a schema here."""


def complaint(body: dict[str, Any], version: str) -> str:
    """What of an object no server of that version takes; '' when it takes all."""
    group = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", body["apiVersion"])
    schema = _read(f"{body['kind'].lower()}-{group}", version)
    validator = jsonschema.Draft202012Validator(schema, registry=Resource.from_contents(schema) @ _known(version))
    wrong = jsonschema.exceptions.best_match(validator.iter_errors(body))
    return f"{wrong.json_path}: {wrong.message}" if wrong else ""


@cache
def _known(version: str) -> "Registry[Any]":
    return Resource.from_contents(_read("_definitions", version)) @ Registry()


def _read(name: str, version: str) -> Any:
    return schema_contents(f"kubernetes-json-schema/v{version}-local-strict/{name}.json", version)
