from __future__ import annotations

from pathlib import Path

import pytest

from rollout.errors import DocumentError, UsageError
from rollout.gates.settings import Settings, default_path, load_settings


def test_without_a_configuration_nothing_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert load_settings(None) == Settings((), (), commands=False)


def test_a_configuration_is_found_in_its_usual_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    path = tmp_path / "rollout" / "config.yaml"
    path.parent.mkdir()
    path.write_text("gates: {hosts: [p.example], privateNetworks: [10.0.0.0/8], commands: true}")
    assert load_settings(None) == Settings(("p.example",), ("10.0.0.0/8",), commands=True)
    assert default_path({}) == Path.home() / ".config" / "rollout" / "config.yaml"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gates:\n  host: [a]\n", "config.yaml:2: gates.host: unknown key; did you mean 'hosts'?"),
        (
            "gates:\n  privateNetworks: [ten]\n",
            "config.yaml:2: gates.privateNetworks: 'ten' is not",
        ),
        ("gates: {}\n---\ngates: {}\n", "a second document"),
        ("gates: [", "not valid YAML"),
    ],
)
def test_a_mistake_in_the_configuration_is_named_with_its_line(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(DocumentError) as caught:
        load_settings(path)
    assert message in str(caught.value)


def test_a_configuration_that_was_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="cannot be read"):
        load_settings(tmp_path / "none.yaml")
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert load_settings(tmp_path / "empty.yaml") == Settings()


def test_flags_add_to_the_configuration() -> None:
    base = Settings(hosts=("a",), private=("10.0.0.0/8",))
    assert base.with_flags(("b",), ("fd00::/8",), commands=True) == Settings(
        ("a", "b"), ("10.0.0.0/8", "fd00::/8"), commands=True
    )
    assert Settings(commands=True).with_flags().commands
    with pytest.raises(UsageError, match="--allow-network ten: 'ten' is not a network"):
        base.with_flags((), ("ten",))
