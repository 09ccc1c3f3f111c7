"""plans/README.md is the reference of the spec: every key with its default, every example right."""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
import yaml

from rollout import gatespec, notifyspec, spec
from rollout.fleet.objects import Node
from rollout.gates.document import describe
from rollout.gates.settings import load_settings
from rollout.gates.webhook import SIGNATURE
from rollout.gatespec import promql
from rollout.notify.messages import SCHEMA, Message
from rollout.planner.waves import Candidate, plan_waves
from rollout.specfile import load_spec
from tests.gates.worlds import a_context, a_gate

README = (Path(__file__).parents[2] / "plans" / "README.md").read_text()
STRUCTS: dict[str, type[msgspec.Struct]] = {
    "The document": spec.Spec,
    "metadata": spec.Metadata,
    "spec": spec.Body,
    "spec.daemonSets[]": spec.DaemonSetItem,
    "spec.daemonSets[].target": spec.Target,
    "spec.daemonSets[].target.set": spec.SetTarget,
    "spec.daemonSets[].strategy": spec.Strategy,
    "spec.daemonSets[].after": spec.After,
    "spec.nodes": spec.NodeRules,
    "spec.waves[]": spec.WaveRule,
    "spec.health": spec.Health,
    "spec.failure": spec.Failure,
    "spec.limits": spec.Limits,
    "spec.windows[]": gatespec.WindowRule,
}
# What gates of a kind have besides the common keys, and the mappings in them.
GATES: dict[str, type[msgspec.Struct]] = {
    "spec.gates[]": gatespec.GateBase,
    "spec.gates[].when": gatespec.When,
    "spec.gates[].thresholdRange": gatespec.ThresholdRange,
    "spec.gates[].secretRef": gatespec.SecretRef,
    "spec.gates[].secretRef.secret": gatespec.SecretKey,
    "kind: pods": gatespec.PodsGate,
    "kind: node": gatespec.NodeGate,
    "kind: events": gatespec.EventsGate,
    "kind: logs": gatespec.LogsGate,
    "kind: resources": gatespec.ResourcesGate,
    "kind: job": gatespec.JobGate,
    "kind: approval": gatespec.ApprovalGate,
    "kind: pause": gatespec.PauseGate,
    "kind: window": gatespec.WindowGate,
    "kind: prometheus": gatespec.PrometheusGate,
    "spec.gates[].alerts": gatespec.Alerts,
    "spec.gates[].tls": gatespec.Tls,
    "kind: http": gatespec.HttpGate,
    "spec.gates[].podPort": gatespec.PodPort,
    "kind: webhook": gatespec.WebhookGate,
    "kind: command": gatespec.CommandGate,
    "kind: plugin": gatespec.PluginGate,
}
# What all sinks have, and what a kind has besides.
SINKS: dict[str, type[msgspec.Struct]] = {
    "spec.notify[]": notifyspec.SinkBase,
    "sink: webhook": notifyspec.WebhookSink,
    "sink: slack": notifyspec.SlackSink,
    "sink: pagerduty": notifyspec.PagerDutySink,
    "sink: events": notifyspec.EventsSink,
}
SECTIONS = STRUCTS | GATES | SINKS
ITEM: dict[str, Any] = {"name": "log-agent", "target": {"restart": True}}


def fields_of(struct: type[msgspec.Struct]) -> list[msgspec.structs.FieldInfo]:
    """Return the keys of a struct; of a kind of gates those that not all gates have."""
    fields = msgspec.structs.fields(struct)
    if issubclass(struct, notifyspec.SinkBase) and struct is not notifyspec.SinkBase:
        defaults = {f.name: f.default for f in msgspec.structs.fields(notifyspec.SinkBase)}
        return [f for f in fields if f.name not in defaults or f.default != defaults[f.name]]
    if struct is gatespec.GateBase or not issubclass(struct, gatespec.GateBase):
        return list(fields)
    common = {field.name for field in msgspec.structs.fields(gatespec.GateBase)}
    return [field for field in fields if field.name not in common]


def section(heading: str) -> str:
    return README.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def rows(text: str, columns: int) -> list[list[str]]:
    """Return the cells of all tables with so many columns, without their heads."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    heads = {i - 1 for i, line in enumerate(lines) if line.startswith("|--")}
    return [
        row
        for i, row in enumerate(cells)
        if len(row) == columns and i not in heads and not lines[i].startswith("|--")
    ]


def blocks() -> list[Any]:
    return [yaml.safe_load(text) for text in examples()]


def document(body: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "rollout/v1",
        "kind": "Rollout",
        "metadata": {"name": "example"},
        "spec": {"daemonSets": [ITEM]} | body,
    }


def load(directory: Path, written: dict[str, Any]) -> spec.Body:
    path = directory / "spec.yaml"
    path.write_text(yaml.safe_dump(written))
    return load_spec(path).spec.spec


def test_every_struct_of_the_spec_has_its_section() -> None:
    found = {
        item
        for item in vars(spec).values()
        if isinstance(item, type) and issubclass(item, msgspec.Struct)
        if item.__module__ == spec.__name__
    }
    assert set(STRUCTS.values()) == {*found, gatespec.WindowRule}


def test_every_kind_of_gate_has_its_section_and_an_example() -> None:
    kinds = {kind.__struct_config__.tag for kind in get_args(gatespec.Gate)}
    assert {h.removeprefix("kind: ") for h in GATES if h.startswith("kind: ")} == kinds
    assert [kind for kind in kinds if f"kind: {kind}" not in "".join(examples())] == []


def examples() -> list[str]:
    return re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("heading", SECTIONS)
def test_a_section_has_every_key_in_any_order_and_no_other(heading: str) -> None:
    keys = [row[0] for row in rows(section(heading), 4)]
    wanted = [f"`{field.encode_name}`" for field in fields_of(SECTIONS[heading])]
    assert sorted(keys) == sorted(wanted)


@pytest.mark.parametrize("heading", SECTIONS)
def test_a_section_has_the_right_defaults(heading: str) -> None:
    cells = {row[0].strip("`"): row[2] for row in rows(section(heading), 4)}
    for field in fields_of(SECTIONS[heading]):
        said = cells[field.encode_name]
        match field.default:
            case msgspec.NODEFAULT if field.default_factory is msgspec.NODEFAULT:
                assert said == "required"
            case bool() | int() | float() | str() as default if default != "":
                assert said == f"`{yaml.safe_dump(default).partition(chr(10))[0]}`"
            case (_, *_) as names:
                assert said == ", ".join(f"`{name}`" for name in names)
            case _:  # nothing, or a mapping: the cell says in words what holds then
                assert said
                assert said != "required"


def choices() -> list[tuple[str, str]]:
    """Return every word that a key takes, with the section of the key."""
    return [
        (heading, str(word))
        for heading, struct in SECTIONS.items()
        for field in fields_of(struct)
        for part in (field.type, *get_args(field.type))
        for word in get_args(part)
        if isinstance(word, str)
    ]


def test_every_choice_is_in_its_section() -> None:
    assert ("spec.failure", "rollback") in choices()
    assert [(h, w) for h, w in choices() if f"`{w}`" not in section(h)] == []


def test_every_placeholder_of_a_query_is_there() -> None:
    said = set(re.findall(r"`{{([A-Za-z]+)}}`", section("kind: prometheus")))
    assert said == promql.NAMES | {promql.AGE}


def test_the_example_of_the_configuration_is_one(tmp_path: Path) -> None:
    text = section("What gates are allowed to do").partition("    gates:\n")[2]
    written = "    gates:\n" + text.partition("\n\n")[0]
    (tmp_path / "config.yaml").write_text(textwrap.dedent(written))
    found = load_settings(tmp_path / "config.yaml")
    assert found.hosts == ("prometheus.example.com", "*.internal.example.com:9090")
    assert found.private == ("10.20.0.0/16",)


def test_the_document_of_a_webhook_has_the_keys_that_it_is_said_to_have() -> None:
    (said,) = (
        json.loads(text)
        for text in re.findall(r"```json\n(.*?)```", section("kind: webhook"), re.DOTALL)
    )
    made = describe(a_gate("webhook", url="https://h/"), a_context())

    def keys(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: keys(inner) for key, inner in value.items()}
        return [keys(value[0])] if isinstance(value, list) and value else None

    assert keys(said) == keys(made)


def test_every_kind_of_sink_has_its_section_and_an_example() -> None:
    kinds = {kind.__struct_config__.tag for kind in get_args(notifyspec.Sink)}
    assert {h.removeprefix("sink: ") for h in SINKS if h.startswith("sink: ")} == kinds
    (example,) = (block["notify"] for block in blocks() if "notify" in block)
    assert {sink["kind"] for sink in example} == kinds


def test_every_occasion_is_explained() -> None:
    said = {row[0].strip("`") for row in rows(section("spec.notify[]"), 2)}
    assert said == set(get_args(notifyspec.Occasion))


def test_the_example_of_a_message_is_one_with_every_key() -> None:
    (text,) = re.findall(r"```json\n(.*?)```", section("sink: webhook"), re.DOTALL)
    said = msgspec.json.decode(text, type=Message)
    assert said.schema == SCHEMA
    assert list(json.loads(text)) == [f.encode_name for f in msgspec.structs.fields(Message)]
    assert f"`{SIGNATURE}`" in section("sink: webhook")


def test_every_key_of_the_order_is_there() -> None:
    with pytest.raises(ValueError, match="is not a key") as caught:
        spec.NodeRules(order=("bogus",))
    words = str(caught.value).partition("use ")[2].replace(" or label:KEY", "").split(", ")
    assert len(words) > 5
    assert [word for word in words if f"`{word}`" not in section("spec.nodes")] == []


def test_every_example_is_a_spec_or_a_part_of_one(tmp_path: Path) -> None:
    item_keys = {field.encode_name for field in msgspec.structs.fields(spec.DaemonSetItem)}
    for block in blocks():
        if "apiVersion" in block:
            load(tmp_path, block)
        elif set(block) <= item_keys:
            load(tmp_path, document({"daemonSets": [ITEM | block]}))
        else:
            load(tmp_path, document(block))
    assert len(blocks()) > 8


def profiles() -> list[tuple[str, str]]:
    found = rows(section("spec.waves[]"), 2)
    return [(name.strip("`"), written.strip("`")) for name, written in found]


def test_a_profile_is_what_it_is_said_to_be_short_for(tmp_path: Path) -> None:
    assert {name for name, _ in profiles()} == set(spec.PROFILES)
    for name, written in profiles():
        short, long = (
            load(tmp_path, document({"waves": waves})) for waves in (name, yaml.safe_load(written))
        )
        assert waves_of(short, 50) == waves_of(long, 50)


def waves_of(body: spec.Body, nodes: int) -> list[tuple[Any, ...]]:
    """Return the waves of so many nodes in two zones."""
    made = plan_waves(body, [candidate(number) for number in range(nodes)])
    return [(w.name, w.nodes, w.pause, w.bake_s) for w in made]


def candidate(number: int) -> Candidate:
    labels = {spec.ZONE_LABEL: f"zone-{number % 2}"}
    raw = {"metadata": {"name": f"node-{number:04}", "uid": str(number), "labels": labels}}
    node = msgspec.convert(raw, Node)
    return Candidate(node, available=True, restarts=0, pod_created="", predicted_s=0.0)


@pytest.mark.parametrize(
    "row", rows(section("spec.waves[]"), 3), ids=lambda row: f"{row[0]}-{row[1]}"
)
def test_a_worked_example_of_waves_is_right(row: list[str], tmp_path: Path) -> None:
    written, nodes, sizes = row
    body = load(tmp_path, document({"waves": yaml.safe_load(written.strip("`"))}))
    made = [len(wave[1]) for wave in waves_of(body, int(nodes))]
    assert made == [int(size) for size in sizes.split(", ")]
