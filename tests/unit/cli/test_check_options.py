"""The options of `kairos task submit` for checks are derived from the schemas of their parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from kairos.cli import check_options
from kairos.cli.check_options import with_check_options
from kairos.errors import InvalidInput

CHECKS: dict[str, dict[str, Any]] = {
    "form": {"help": "Form.", "schema": {"type": "string", "enum": ["a", "b"]}},
    "texts": {"help": "Texts.", "schema": {"type": "array", "items": {"type": "string"}}},
    "shape": {"help": "Shape.", "schema": {"type": "object"}},
    "code": {"help": "Code.", "schema": {"type": "string", "contentMediaType": "text/x-python"}},
    "max_words": {"help": "Words.", "schema": {"type": "integer"}},
    "share": {"help": "Share.", "schema": {"type": "number"}},
    "rhymes": {"help": "Rhymes.", "schema": {"type": "boolean"}},
}


@pytest.fixture
def submitted(monkeypatch: pytest.MonkeyPatch):
    """A function that runs a command with these arguments and returns the checks that it received."""
    monkeypatch.setattr(check_options, "CHECKS", CHECKS)
    app, received = typer.Typer(), []

    @app.command()
    @with_check_options
    def submit(*, prompt: str, checks: dict[str, Any], wait: bool = False) -> None:
        received.append((prompt, checks, wait))

    def run(*arguments: str) -> dict[str, Any]:
        result = CliRunner().invoke(app, ["p", *arguments], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        [(prompt, checks, wait)] = received
        assert (prompt, wait) == ("p", False)
        return checks

    return run


def test_each_type_of_parameter_has_an_option(submitted, tmp_path: Path):
    (tmp_path / "shape.json").write_text('{"type": "object"}')
    (tmp_path / "code.py").write_text("assert True\n")
    files = ["--shape", str(tmp_path / "shape.json"), "--code", str(tmp_path / "code.py")]
    rest = ["--max-words", "7", "--share", "0.5", "--rhymes", "--form", "a", "--texts", "x", "--texts", "y"]
    assert submitted(*files, *rest) == {
        "form": "a",
        "texts": ["x", "y"],
        "shape": {"type": "object"},
        "code": "assert True\n",
        "max_words": 7,
        "share": 0.5,
        "rhymes": True,
    }


def test_options_that_are_not_given_are_not_sent(submitted):
    assert submitted() == {}


@pytest.mark.parametrize("content", ["{", "[" * 100_000])
def test_invalid_json_names_the_option(submitted, tmp_path: Path, content: str):
    (tmp_path / "bad.json").write_text(content)
    with pytest.raises(InvalidInput, match="--shape"):
        submitted("--shape", str(tmp_path / "bad.json"))
