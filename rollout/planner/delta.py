"""The difference between two pod templates as JSON patch operations (RFC 6902), and its use.

A plan carries the difference and not the template: what does not change (environment variables
with secrets in them, above all) never reaches the plan, and the target can only be rebuilt on
top of exactly the template that the plan saw.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Any

from rollout.fleet.objects import JsonObject
from rollout.fleet.revisions import canonical_json


def difference(old: JsonObject, new: JsonObject) -> list[JsonObject]:
    """Return operations that turn `old` into `new`; equal parts are in none of them."""
    operations: list[JsonObject] = []
    _compare(old, new, "", operations)
    return operations


def apply_difference(old: JsonObject, operations: Sequence[JsonObject]) -> JsonObject:
    """Return `old` changed by the operations of `difference`.

    Raises:
        ValueError: when they do not fit `old`.
    """
    result: JsonObject = old
    for operation in operations:
        steps = [_unescape(s) for s in str(operation["path"]).split("/")[1:]]
        try:
            result = _change(result, steps, operation)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise ValueError(f"operation on {operation['path']} does not fit: {error}") from None
    return result


def _compare(old: Any, new: Any, path: str, operations: list[JsonObject]) -> None:  # noqa: ANN401 - any JSON
    if isinstance(old, dict) and isinstance(new, dict):
        operations.extend(
            {"op": "remove", "path": f"{path}/{_escape(key)}"}
            for key in sorted(old.keys() - new.keys())
        )
        for key in sorted(new.keys()):
            at = f"{path}/{_escape(key)}"
            if key not in old:
                operations.append({"op": "add", "path": at, "value": new[key]})
            else:
                _compare(old[key], new[key], at, operations)
    elif isinstance(old, list) and isinstance(new, list):
        _compare_lists(old, new, path, operations)
    elif canonical_json(old) != canonical_json(new):
        operations.append({"op": "replace", "path": path, "value": new})


def _compare_lists(old: list[Any], new: list[Any], path: str, operations: list[JsonObject]) -> None:
    """Compare item by item; behind each block the indexes are those of the growing result."""
    if _all_named(old) and _all_named(new):
        _compare_named(old, new, path, operations)
        return
    before = [canonical_json(_identity(item)) for item in old]
    after = [canonical_json(_identity(item)) for item in new]
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    shift = 0
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        if tag == "equal":
            for offset in range(i2 - i1):
                at = f"{path}/{i1 + shift + offset}"
                _compare(old[i1 + offset], new[j1 + offset], at, operations)
            continue
        operations.extend({"op": "remove", "path": f"{path}/{i1 + shift}"} for _ in range(i1, i2))
        for offset in range(j2 - j1):
            value = new[j1 + offset]
            at = f"{path}/{i1 + shift + offset}"
            operations.append({"op": "add", "path": at, "value": value})
        shift += (j2 - j1) - (i2 - i1)


def _all_named(items: list[Any]) -> bool:
    """Whether every item has a name of its own, as in most lists of Kubernetes."""
    names = {i["name"] for i in items if isinstance(i, dict) and isinstance(i.get("name"), str)}
    return len(names) == len(items)


def _compare_named(
    old: list[JsonObject], new: list[JsonObject], path: str, operations: list[JsonObject]
) -> None:
    """Items that change places are moved: written anew, they would bring their values along."""
    before = {item["name"]: item for item in old}
    kept = {item["name"] for item in new}
    order = [item["name"] for item in old]
    for index in reversed(range(len(order))):
        if order[index] not in kept:
            operations.append({"op": "remove", "path": f"{path}/{index}"})
            del order[index]
    for index, item in enumerate(new):
        name, at = item["name"], f"{path}/{index}"
        if name not in before:
            operations.append({"op": "add", "path": at, "value": item})
            order.insert(index, name)
            continue
        place = order.index(name, index)
        if place != index:
            operations.append({"op": "move", "from": f"{path}/{place}", "path": at})
            order.insert(index, order.pop(place))
        _compare(before[name], item, at, operations)


def _identity(item: Any) -> Any:  # noqa: ANN401 - plain data
    """What makes two list items the same one: their name where they have one."""
    if isinstance(item, dict) and isinstance(item.get("name"), str):
        return {"name": item["name"]}
    return item


def _change(value: Any, steps: Sequence[str], operation: JsonObject) -> Any:  # noqa: ANN401 - any JSON
    if not steps:
        return operation["value"]
    if isinstance(value, list):
        return _change_list(value, int(steps[0]), steps[1:], operation)
    head, rest = steps[0], steps[1:]
    if not isinstance(value, dict):
        raise TypeError(f"'{head}' is looked for in what is no mapping")
    entries = dict(value)
    if rest:
        entries[head] = _change(entries[head], rest, operation)
    elif operation["op"] == "remove":
        del entries[head]
    else:
        entries[head] = operation["value"]
    return entries


def _change_list(
    value: list[Any], index: int, rest: Sequence[str], operation: JsonObject
) -> list[Any]:
    items = list(value)
    if rest:
        items[index] = _change(items[index], rest, operation)
        return items
    match operation["op"]:
        case "add" if index > len(items):
            raise IndexError("list index out of range")
        case "add":
            items.insert(index, operation["value"])
        case "move":  # inside of this list
            items.insert(index, items.pop(int(operation["from"].rpartition("/")[2])))
        case "remove":
            del items[index]
        case _:
            items[index] = operation["value"]
    return items


def _escape(step: str) -> str:
    return step.replace("~", "~0").replace("/", "~1")


def _unescape(step: str) -> str:
    return step.replace("~1", "/").replace("~0", "~")
