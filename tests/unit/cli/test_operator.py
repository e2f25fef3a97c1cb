"""The session in which `kairos user` acts as the operator, and the memory that `kairos status` shows."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import cast

import click
import pytest
import typer

from kairos.cli import users
from kairos.cli.context import Context
from kairos.errors import NotFound
from tests.kit.recording_server import RecordingServer, recording_server

TOKENS = {"access_token": "access", "refresh_token": "refresh", "project_id": None}


def context_at(server: RecordingServer, folder: Path) -> typer.Context:
    """Return the context of a command on the daemon's machine. The runtime file spells the address differently."""
    (folder / "kairos.toml").write_text(f"data_dir = {json.dumps(str(folder))}\n")
    (folder / "runtime.json").write_text(
        json.dumps({"pid": os.getpid(), "address": f"HTTP://127.0.0.1:{server.port}/"})
    )
    (folder / "local-secret").write_text("the-local-secret")
    context = click.Context(click.Command("user"), obj=Context(folder / "kairos.toml", server.address))
    return cast(typer.Context, context)


def refused_command(context: typer.Context, server: RecordingServer, status: int) -> None:
    with users._operator(context) as client:
        client.get("/api/users")
        server.status, server.body = status, b"no JSON"
        raise NotFound(what="user", id="ada")


@pytest.mark.parametrize("status", [200, 500])
def test_operator_session_ends_when_the_command_is_refused(tmp_path: Path, status: int):
    with recording_server(body=json.dumps(TOKENS).encode()) as server, pytest.raises(NotFound):
        refused_command(context_at(server, tmp_path), server, status)
    assert [sent.path for sent in server.received] == ["/api/auth/local", "/api/users", "/api/auth/logout"]


def test_no_session_is_started_only_to_end_it(tmp_path: Path):
    with recording_server() as server, users._operator(context_at(server, tmp_path)):
        pass
    assert server.received == []
