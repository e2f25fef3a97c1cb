"""Keys of providers are read from a prompt, a file or standard input, never from an option."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from kairos.cli import models, providers
from kairos.errors import InvalidInput


def test_key_is_read_from_a_file_or_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "key"
    file.write_text("sk-from-file\n")
    assert providers._key(str(file)) == "sk-from-file"
    monkeypatch.setattr(sys, "stdin", io.StringIO(" sk-from-stdin \n"))
    assert providers._key("-") == "sk-from-stdin"


def test_without_a_terminal_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("sk-not-read"))
    with pytest.raises(InvalidInput, match="--key-file"):
        providers._key(None)


@pytest.mark.parametrize("content", ["", "\n", "  \n"])
def test_empty_key_is_refused(tmp_path: Path, content: str):
    file = tmp_path / "key"
    file.write_text(content)
    with pytest.raises(InvalidInput, match="empty"):
        providers._key(str(file))


def test_no_option_takes_a_key():
    """Other users can see the options of a running program."""
    options = {
        option
        for app in (providers.app, models.app)
        for command in get_command(app).commands.values()  # type: ignore[attr-defined]
        for parameter in command.params
        for option in parameter.opts
    }
    assert {"--key-file", "--no-key"} <= options
    assert not {option for option in options if option in ("--key", "--api-key", "--token", "--header")}


def test_headers_are_read_from_a_file(tmp_path: Path):
    file = tmp_path / "headers"
    file.write_text("X-Team: search:1\n\nX-Empty:\n")
    assert providers._headers(file) == {"X-Team": "search:1", "X-Empty": ""}
    file.write_text("no colon")
    with pytest.raises(InvalidInput, match="line 1"):
        providers._headers(file)
