"""Compare answers with recorded ones, but for what differs from run to run.

Names of pods, uids, resource versions, hashes and times are ours and not theirs. They are mapped
as they appear: the first time a recorded value meets ours, that is what it stands for from then
on, and every later meeting must agree. Pods are found by their node.

Left out on purpose:

* Times: only their form is compared. Theirs are of a wall clock, ours of a virtual one.
* Resource versions of lists, of bookmarks and in messages: other writers (theirs: many, ours: few)
  raise them too.
* `spec.renewTime` in the answer to "create lease": the recorder changed its copy of that answer for
  its next request before it wrote it down.
* The hash in names of ControllerRevisions: it is a hash of Go's memory layout.
* The order of rules in a SelfSubjectRulesReview: that of a Go map.
* Which pod the first events of a DaemonSet name: the order of creation is that of a Go map.
* `serverAddress` in /api: the port.
* Continue tokens: opaque to clients.
* Which pods are on a page that is cut short: generated names sort as they like. Those that are on
  both pages are compared.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z")
UID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TIME_KEYS = frozenset(
    (
        "time",
        "creationTimestamp",
        "deletionTimestamp",
        "lastTransitionTime",
        "firstTimestamp",
        "lastTimestamp",
        "lastProbeTime",
        "lastHeartbeatTime",
        "startTime",
    )
)
VERSION_IN_MESSAGE = re.compile(r"(?<=in record \()\d+(?=\))|(?<=current: )\d+")
LEFT_OUT = {"05/create lease": frozenset(("body.spec.renewTime",))}
POD_OF_EVENT = re.compile(r"^(Created|Deleted) pod: ")
Json = Any


@dataclass
class Mapping:
    """What recorded values stand for in our run."""

    tokens: dict[str, str] = field(default_factory=dict)  # names, uids, hashes
    versions: dict[str, str] = field(default_factory=dict)  # of objects
    positions: dict[str, str] = field(default_factory=dict)  # versions and tokens of lists

    def learn(self, recorded: str, ours: str) -> None:
        self.tokens.setdefault(recorded, ours)

    def text(self, recorded: str) -> str:
        """Translate every known name and uid in a text."""
        if not self.tokens:
            return recorded
        pattern = "|".join(map(re.escape, sorted(self.tokens, key=len, reverse=True)))
        return re.sub(pattern, lambda match: self.tokens[match[0]], recorded)

    def path(self, recorded: str) -> str:
        """Translate a request path with its query."""
        path = self.text(recorded)
        for theirs, ours in self.positions.items():
            path = re.sub(
                rf"((resourceVersion|continue)=){re.escape(theirs)}(?=&|$)", rf"\g<1>{ours}", path
            )
        return path

    def body(self, recorded: Json, now: str) -> Json:
        """Translate a request body; what a kubelet stamped with its time gets ours."""
        match recorded:
            case dict():
                return {
                    self.text(key): self._member(key, value, now) for key, value in recorded.items()
                }
            case list():
                return [self.body(item, now) for item in recorded]
            case str():
                return self.text(recorded)
        return recorded

    def _member(self, key: str, value: Json, now: str) -> Json:
        if key == "resourceVersion":
            return self.versions.get(value, value)
        if key == "lastTransitionTime":
            return now
        return self.body(value, now)


@dataclass
class Comparison:
    """One comparison; `differences` says where ours is not theirs."""

    mapping: Mapping
    left_out: frozenset[str] = frozenset()
    page_is_cut: bool = False
    differences: list[str] = field(default_factory=list)

    def fail(self, path: str, recorded: Json, ours: Json) -> None:
        self.differences.append(f"{path}: recorded {recorded!r}, ours {ours!r}")

    def compare(self, path: str, recorded: Json, ours: Json) -> None:
        """Compare two JSON values."""
        match recorded:
            case dict() if isinstance(ours, dict):
                self._objects(path, recorded, ours)
            case list() if isinstance(ours, list):
                self._lists(path, recorded, ours)
            case str() if isinstance(ours, str):
                self._texts(path, recorded, ours)
            case _:
                if recorded != ours or type(recorded) is not type(ours):
                    self.fail(path, recorded, ours)

    def _objects(self, path: str, recorded: dict[str, Json], ours: dict[str, Json]) -> None:
        self._learn_identity(recorded, ours)
        theirs = {self.mapping.text(key): value for key, value in recorded.items()}
        for key in sorted(theirs.keys() | ours.keys()):
            where = f"{path}.{key}"
            if where in self.left_out:
                continue
            if key not in ours:
                self.differences.append(f"{where}: missing, recorded {theirs[key]!r}")
            elif key not in theirs:
                self.differences.append(f"{where}: not recorded, ours {ours[key]!r}")
            else:
                self._member(where, key, theirs[key], ours[key], recorded)

    def _learn_identity(self, recorded: dict[str, Json], ours: dict[str, Json]) -> None:
        """Learn the names and uids of an object before they are met inside it."""
        theirs, own = recorded.get("metadata", recorded), ours.get("metadata", ours)
        if not isinstance(theirs, dict) or not isinstance(own, dict):
            return
        for source, target in ((theirs, own), (theirs.get("labels"), own.get("labels"))):
            if not isinstance(source, dict) or not isinstance(target, dict):
                continue
            for key in ("uid", "controller-revision-hash"):
                if isinstance(source.get(key), str) and isinstance(target.get(key), str):
                    self.mapping.learn(source[key], target[key])
        generated = "generateName" in theirs or ".18eab" in str(theirs.get("name"))
        if generated and isinstance(own.get("name"), str):
            self.mapping.learn(theirs["name"], own["name"])

    def _member(
        self, path: str, key: str, recorded: Json, ours: Json, holder: dict[str, Json]
    ) -> None:
        if key in TIME_KEYS and recorded is not None:
            self._times(path, recorded, ours)
        elif key == "resourceVersion":
            self._versions(path, recorded, ours, of_object="uid" in holder)
        elif key == "continue":
            self.mapping.positions[recorded] = ours
        elif key in ("resourceRules", "nonResourceRules"):
            self.compare(path, sorted(recorded, key=str), sorted(ours, key=str))
        elif key != "serverAddress":
            self.compare(path, recorded, ours)

    def _times(self, path: str, recorded: Json, ours: Json) -> None:
        theirs = TIME.fullmatch(recorded)
        own = TIME.fullmatch(ours) if isinstance(ours, str) else None
        if theirs is None or own is None or bool(theirs[1]) != bool(own[1]):
            self.fail(path, recorded, ours)

    def _versions(self, path: str, recorded: Json, ours: Json, *, of_object: bool) -> None:
        known = self.mapping.versions if of_object else self.mapping.positions
        if not isinstance(ours, str) or not ours.isdigit():
            self.fail(path, recorded, ours)
        elif of_object and known.setdefault(recorded, ours) != ours:
            self.fail(path, f"{recorded} (ours {known[recorded]})", ours)
        else:
            known[recorded] = ours

    def _texts(self, path: str, recorded: str, ours: str) -> None:
        if POD_OF_EVENT.match(recorded):
            recorded, ours = recorded[:-5], ours[:-5]
        else:
            recorded = VERSION_IN_MESSAGE.sub("0", self.mapping.text(recorded))
            ours = VERSION_IN_MESSAGE.sub("0", ours)
        if recorded != ours:
            self.fail(path, recorded, ours)

    def _lists(self, path: str, recorded: list[Json], ours: list[Json]) -> None:
        if len(recorded) != len(ours):
            self.fail(path, f"{len(recorded)} items", f"{len(ours)} items")
            return
        cut = path == "body.items" and self.page_is_cut
        for index, (left, right) in enumerate(self._paired(recorded, ours, cut=cut)):
            self.compare(f"{path}[{index}]", left, right)

    def _paired(
        self, recorded: list[Json], ours: list[Json], *, cut: bool = False
    ) -> list[tuple[Json, Json]]:
        """Pair the items of lists whose order follows from names that differ."""
        if _is_initial_state(recorded):
            pairs = self._paired(recorded[:-1], ours[:-1])
            return [*pairs, (recorded[-1], ours[-1])]
        if not recorded or not all(map(_has_generated_name, recorded)):
            return list(zip(recorded, ours, strict=True))
        rest = list(ours)
        pairs = []
        for item in recorded:
            match = next((own for own in rest if self._same(item, own)), None)
            if match is None and cut:
                continue
            match = match or rest[0]
            rest.remove(match)
            pairs.append((item, match))
        return pairs

    def _same(self, recorded: Json, ours: Json) -> bool:
        theirs = recorded.get("object", recorded)["metadata"]
        own = ours.get("object", ours)["metadata"]
        known = self.mapping.tokens.get(theirs["name"])
        if known is not None:
            return bool(known == own["name"])
        if own["name"] in self.mapping.tokens.values():
            return False
        return bool(identity(recorded) == identity(ours))


def _is_initial_state(items: list[Json]) -> bool:
    """Whether these are the events of a watch that begins with the state and then is silent."""
    types = [item.get("type") if isinstance(item, dict) else None for item in items]
    return len(types) > 1 and types[-1] == "BOOKMARK" and set(types[:-1]) == {"ADDED"}


def _has_generated_name(item: Json) -> bool:
    if not isinstance(item, dict) or item.get("type", "ADDED") != "ADDED":
        return False
    metadata = item.get("object", item).get("metadata")
    if not isinstance(metadata, dict):
        return False
    labels: dict[str, str] = metadata.get("labels", {})
    return "generateName" in metadata or "controller-revision-hash" in labels


def identity(item: Json) -> Json:
    """Return what tells an object with a generated name from its siblings."""
    if "revision" in item:
        return item["data"]
    return node_of(item.get("object", item))


def node_of(pod: Json) -> str:
    """Return the node that a pod is bound to or wants."""
    spec = pod.get("spec") or {}
    if spec.get("nodeName"):
        return str(spec["nodeName"])
    affinity = spec.get("affinity", {}).get("nodeAffinity", {})
    terms = affinity.get("requiredDuringSchedulingIgnoredDuringExecution", {})
    for term in terms.get("nodeSelectorTerms", ()):
        return str(term["matchFields"][0]["values"][0])
    return ""
