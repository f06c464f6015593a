"""What CustomResourceDefinitions say of an object, where DESKGRAPH_CRDS names a folder of them."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

import jsonschema
import yaml

FOLDER_VARIABLE = "DESKGRAPH_CRDS"


@functools.cache
def crd_validator(api_version: str, kind: str) -> jsonschema.Draft202012Validator | None:
    """Checks objects of a kind, unknown fields included; None where no schema of it is known."""
    schema = _schemas().get((api_version, kind))
    if schema is None:
        return None
    properties = {
        **schema.get("properties", {}),
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {},
    }
    return jsonschema.Draft202012Validator(_closed({**schema, "properties": properties}))


@functools.cache
def _schemas() -> dict[tuple[str, str], dict[str, Any]]:
    folder = os.environ.get(FOLDER_VARIABLE, "")
    found = {}
    for path in sorted(Path(folder).glob("*.yaml")) if folder else []:
        for definition in yaml.load_all(path.read_text(encoding="utf-8"), yaml.CSafeLoader):
            spec = (definition or {}).get("spec", {})
            for version in spec.get("versions", ()):
                key = f"{spec['group']}/{version['name']}", spec["names"]["kind"]
                found[key] = version["schema"]["openAPIV3Schema"]
    return found


def _closed(schema: Any) -> Any:
    """A structural schema as JSON Schema that refuses unknown fields."""
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    out = {
        key: value if key in ("default", "enum") else _closed(value)
        for key, value in schema.items()
    }
    if out.get("x-kubernetes-int-or-string"):
        out.pop("type", None)
        out["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    if out.get("nullable") and isinstance(out.get("type"), str):
        out["type"] = [out["type"], "null"]
    if (
        isinstance(out.get("properties"), dict)
        and "additionalProperties" not in out
        and not out.get("x-kubernetes-preserve-unknown-fields")
        and not out.get("x-kubernetes-embedded-resource")
    ):
        out["additionalProperties"] = False
    return out
