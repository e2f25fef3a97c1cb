"""`kairos provider pull` follows a pull to its end; Ctrl-C cancels it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
import typer

from kairos.cli import ollama
from kairos.cli.client import Client

PULLS = "/api/providers/1/ollama/pulls"


class ScriptedClient:
    """A client whose pull has these states, one for each poll; an exception is raised."""

    def __init__(self, *states: str | type[BaseException]) -> None:
        self.states = list(states)
        self.posted: list[tuple[str, Any]] = []

    def get(self, path: str) -> Any:
        if path == "/api/providers":
            return {"items": [{"id": "1", "name": "Box", "models": []}]}
        assert path == PULLS
        state = self.states.pop(0)
        if not isinstance(state, str):
            raise state
        problem = {"cause": "the disk is full", "remedy": "Delete models"} if state == "failed" else None
        values = {"phase": "downloading", "completed": 1, "total": 2048, "problem": problem}
        return {"items": [{"id": "7", "model": "tiny", "state": state, **values}]}

    def post(self, path: str, body: Any = None) -> Any:
        self.posted.append((path, body))
        return {"id": "7"}


def pull(monkeypatch: pytest.MonkeyPatch, client: ScriptedClient) -> None:
    monkeypatch.setattr(ollama, "POLL_S", 0)
    monkeypatch.setattr(ollama, "context_of", lambda _: SimpleNamespace(client=lambda: cast(Client, client)))
    ollama.pull(cast(typer.Context, None), "Box", "tiny")


def test_pull_is_followed_to_its_end(monkeypatch: pytest.MonkeyPatch):
    client = ScriptedClient("running", "running", "succeeded")
    pull(monkeypatch, client)
    assert client.posted == [(PULLS, {"model": "tiny", "insecure": False})]
    assert client.states == []


def test_failed_pull_exits_with_an_error(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(typer.Exit) as end:
        pull(monkeypatch, ScriptedClient("running", "failed"))
    assert end.value.exit_code == ollama.FAILED


def test_interruption_cancels_the_pull(monkeypatch: pytest.MonkeyPatch):
    client = ScriptedClient("running", KeyboardInterrupt)
    with pytest.raises(typer.Exit):
        pull(monkeypatch, client)
    assert client.posted[-1] == (f"{PULLS}/7/cancel", None)


@pytest.mark.parametrize(
    ("size", "shown"),
    [(None, "unknown"), (0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (98_362_432, "93.8 MiB"), (2**50, "1024 TiB")],
)
def test_sizes_have_a_unit(size: int | None, shown: str):
    assert ollama._size(size) == shown
