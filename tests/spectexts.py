"""Specs as texts, and what reading one says."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollout.errors import DocumentError
from rollout.spec import LoadedSpec
from rollout.specfile import load_spec

HEAD = """\
apiVersion: rollout/v1
kind: Rollout
metadata: {name: agent-2, namespace: logging}
spec:
  daemonSets:
    - name: agent
      target: {restart: true}
"""


def load(folder: Path, text: str) -> LoadedSpec:
    path = folder / "spec.yaml"
    path.write_text(text, encoding="utf-8")
    return load_spec(path)


def complaint(folder: Path, text: str) -> str:
    with pytest.raises(DocumentError) as caught:
        load(folder, text)
    return str(caught.value).removeprefix(f"{folder}/")


def with_target(target: str) -> str:
    return HEAD.replace("{restart: true}", target)
