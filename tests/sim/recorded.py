"""Single exchanges of the recorded history with a real 1.36 API server, by name."""

from __future__ import annotations

import copy
import json
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "fidelity" / "recordings"


@cache
def _file(number: str) -> list[dict[str, Any]]:
    path = next(FOLDER.glob(f"{number}-*.json"))
    entries: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return entries


def _exchange(number: str, name: str) -> dict[str, Any]:
    return copy.deepcopy(next(entry for entry in _file(number) if entry.get("name") == name))


def request(number: str, name: str) -> Any:
    """The body that was sent."""
    return _exchange(number, name)["request"]["body"]


def answer(number: str, name: str) -> Any:
    """The body that came back."""
    return _exchange(number, name)["response"]["body"]


def items(number: str, name: str) -> list[dict[str, Any]]:
    """The objects of a list that came back, each with its kind and version."""
    found = answer(number, name)
    kind, version = found["kind"].removesuffix("List"), found["apiVersion"]
    return [{"kind": kind, "apiVersion": version, **item} for item in found["items"]]


def objects() -> list[dict[str, Any]]:
    """Every whole object in any answer."""
    found = []
    for path in sorted(FOLDER.glob("0*.json")):
        for entry in _file(path.name[:2]):
            body = entry.get("response", {}).get("body")
            if not isinstance(body, dict) or "name" not in entry:
                continue
            if "items" in body and body["kind"] != "PartialObjectMetadataList":
                found += items(path.name[:2], entry["name"])
            elif "metadata" in body and "uid" in body["metadata"]:
                found.append(body)
    return found
