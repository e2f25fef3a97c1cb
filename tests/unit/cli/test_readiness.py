"""`kairos doctor` and `kairos status` where another program answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kairos.cli import diagnosis
from kairos.cli.client import Client
from kairos.cli.credentials import CredentialFile
from kairos.cli.readiness import readiness
from kairos.cli.transport import NotKairos, Refused
from tests.kit.recording_server import recording_server

READY = {
    "status": "degraded",
    "parts": {"redis": {"state": "away", "detail": "no answer"}},
    "isolation": {"tests_run": True, "full": True, "detail": "by namespaces"},
}
OTHERS = [
    {},
    [],
    None,
    "ok",
    {"status": "ok"},
    {"status": "ok", "parts": ["database"]},
    {"status": "ok", "parts": {"database": "up"}},
    {"status": "ok", "parts": {"database": {"state": "up"}}},
    READY | {"isolation": True},
    READY | {"status": None},
]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "kairos.toml"
    file.write_text(f"data_dir = {json.dumps(str(tmp_path))}\n")
    monkeypatch.setenv("KAIROS_CREDENTIALS", str(tmp_path / "credentials.json"))
    return file


@pytest.mark.parametrize("answer", OTHERS)
@pytest.mark.parametrize("status", [200, 503])
def test_json_of_another_shape_is_refused(tmp_path: Path, answer: object, status: int):
    with recording_server(status=status, body=json.dumps(answer).encode()) as server:
        client = Client(server.address, tmp_path, CredentialFile(tmp_path / "credentials.json"))
        with pytest.raises(NotKairos if status == 200 else Refused):
            readiness(client)


@pytest.mark.parametrize("status", [200, 503])
def test_unavailable_parts_are_named(config: Path, monkeypatch: pytest.MonkeyPatch, status: int):
    with recording_server(status=status, body=json.dumps(READY).encode()) as server:
        monkeypatch.setenv("KAIROS_URL", server.address)
        found = diagnosis._daemon(config)
    assert (found.ok, found.detail) == (False, "redis: no answer")


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"parts": 1}'])
@pytest.mark.parametrize("status", [200, 302, 404, 503])
def test_any_answer_gives_a_finding(config: Path, monkeypatch: pytest.MonkeyPatch, body: bytes, status: int):
    headers = {"Location": "http://127.0.0.1:1/"} if status == 302 else {}
    with recording_server(status=status, body=body, headers=headers) as server:
        monkeypatch.setenv("KAIROS_URL", server.address)
        found = diagnosis._daemon(config)
    assert (found.what, found.ok) == ("daemon", False)
    assert found.detail
    assert found.remedy


@pytest.mark.parametrize(("url", "ok"), [("nonsense", False), ("http://127.0.0.1:1", True)])
def test_unreachable_address_gives_a_finding(config: Path, monkeypatch: pytest.MonkeyPatch, url: str, ok: bool):
    monkeypatch.setenv("KAIROS_URL", url)
    assert diagnosis._daemon(config).ok == ok
