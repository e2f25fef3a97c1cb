"""Files are sent in parts that the server accepts, and each refusal names the line of the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kairos.cli import dataset_upload
from kairos.cli.client import Client, NotRunning, Refused
from kairos.errors import InvalidInput
from kairos.orchestration.dataset import dataset_import

PART_ROWS = dataset_upload.PART_ROWS


class Server:
    """Accepts parts up to a limit, and refuses rows that contain "bad"."""

    def __init__(self, limit: int = 10_000, fails: dict[int, BaseException] | None = None) -> None:
        self.limit, self.fails = limit, fails or {}
        self.parts: list[list[Any]] = []
        self.calls = 0

    def get(self, path: str) -> Any:
        return path

    def upload(self, path: str, content: bytes, media_type: str) -> dict[str, Any]:
        assert (path, media_type) == ("/api/dataset/import?approve=true", "application/jsonl")
        self.calls += 1
        if error := self.fails.pop(self.calls, None):
            raise error
        if len(content) > self.limit:
            raise Refused(413, "body_too_large", "The body is too large.")
        lines = content.split(b"\n")
        self.parts.append([json.loads(line) for line in lines])
        bad = [{"line": n, "reason": "bad"} for n, line in enumerate(lines, 1) if b"bad" in line]
        counts = {"rows": len(lines), "new": len(lines) - len(bad), "updated": 0, "unchanged": 0, "refused": len(bad)}
        return {**counts, "refusals": bad}


def test_server_reports_every_refused_row_of_a_part():
    assert PART_ROWS <= dataset_import.MAX_REFUSALS


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset_upload, "PART_ROWS", 3)
    monkeypatch.setattr(dataset_upload.time, "sleep", lambda seconds: None)


def send(server: Server, file: Path, content: str | bytes) -> dict[str, Any]:
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return dataset_upload.send(cast(Client, server), file, approve=True)


ROWS = st.lists(st.fixed_dictionaries({"a": st.text(max_size=5)}), min_size=1, max_size=12)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(ROWS, st.sampled_from([None, 1]), st.booleans(), st.integers(120, 300))
def test_every_row_arrives_once_in_order(tmp_path: Path, rows: list[Any], indent: int | None, array: bool, limit: int):
    content = json.dumps(rows, indent=indent) if array else "\r\n".join(map(json.dumps, rows))
    server = Server(limit)
    done = send(server, tmp_path / "rows", content)
    assert [row for part in server.parts for row in part] == rows
    assert done["rows"] == done["new"] == len(rows)
    assert max(map(len, server.parts)) <= 3


def test_refusal_names_the_line_of_the_file(tmp_path: Path):
    lines = ['{"a": 1}', "", '{"a": 2}', '{"a": 3}', "", "", '{"a": "bad"}', '{"a": 5}', '{"a": "bad"}']
    done = send(Server(), tmp_path / "rows", "\n".join(lines))
    assert [one["line"] for one in done["refusals"]] == [7, 9]
    assert (done["rows"], done["new"], done["refused"]) == (6, 4, 2)


def test_invalid_element_of_an_array_is_refused_and_not_sent(tmp_path: Path):
    server = Server()
    done = send(server, tmp_path / "rows", '[\n{"a": 1},\n{"a": "x\ny"},\n{"a":\n3}\n]')
    assert server.parts == [[{"a": 1}, {"a": 3}]]
    assert [one["line"] for one in done["refusals"]] == [3]
    assert "not valid JSON" in done["refusals"][0]["reason"]


def test_row_larger_than_the_limit_is_refused_and_the_others_arrive(tmp_path: Path):
    rows = [{"a": 1}, {"a": "x" * 500}, {"a": 3}]
    server = Server(limit=100)
    done = send(server, tmp_path / "rows", "\n".join(map(json.dumps, rows)))
    assert [row for part in server.parts for row in part] == [{"a": 1}, {"a": 3}]
    assert [(one["line"], one["reason"]) for one in done["refusals"]] == [(2, "The body is too large.")]


@pytest.mark.parametrize(
    "error",
    [
        NotRunning(address="http://x", reason="refused"),
        Refused(409, "import_running", "Another import is running."),
        Refused(503, "engine_unavailable", "PostgreSQL cannot be reached."),
        Refused(429, "rate_limited", "Too many attempts."),
    ],
)
def test_transient_failure_is_retried(tmp_path: Path, error: BaseException):
    server = Server(fails={2: error, 3: error})
    done = send(server, tmp_path / "rows", "\n".join(['{"a": 1}'] * 7))
    assert done["rows"] == 7


def test_number_of_tries_is_limited(tmp_path: Path):
    error = Refused(503, "engine_unavailable", "PostgreSQL cannot be reached.")
    server = Server(fails=dict.fromkeys(range(1, 50), error))
    with pytest.raises(Refused, match="PostgreSQL cannot be reached"):
        send(server, tmp_path / "rows", '{"a": 1}')
    assert server.calls == dataset_upload.TRIES


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Refused(403, "forbidden", "Not you."), 6),
        (KeyboardInterrupt(), 130),
        (Refused(500, "internal_error", "No."), 1),
    ],
)
def test_interrupted_import_reports_its_progress_and_how_to_resume(tmp_path: Path, error: BaseException, code: int):
    with pytest.raises(dataset_upload.Interrupted) as interrupted:
        send(Server(fails={2: error}), tmp_path / "rows", "\n".join(['{"a": 1}'] * 7))
    assert interrupted.value.exit == code
    assert "3 of 7 samples" in str(interrupted.value)
    assert "Run the same command again" in str(interrupted.value)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"[]", '{"a": 1}'.encode("utf-16")])
def test_file_without_rows_is_refused(tmp_path: Path, content: bytes):
    with pytest.raises(InvalidInput):
        send(Server(), tmp_path / "rows", content)


def test_path_that_is_not_a_file_is_refused(tmp_path: Path):
    with pytest.raises(InvalidInput, match="Check the path"):
        dataset_upload.send(cast(Client, Server()), tmp_path, approve=True)
