"""Upload a file of training data in parts, with a progress bar.

Existing samples are not changed, so an interrupted import can be resumed by running the same command again.
"""

from __future__ import annotations

import contextlib
import mmap
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from kairos.cli import output
from kairos.cli.client import Client, NotRunning, Refused
from kairos.errors import InvalidInput, KairosError
from kairos.fine_tuning.dataset.formats.records import Record, WideText, records

PART_BYTES = 1024 * 1024
"""Half of the default `server.body_limit_bytes`. A part that is too large for the server is split in half."""
PART_ROWS = 1_000
"""Equal to the number of refused samples that the server lists per request (`dataset_import.MAX_REFUSALS`)."""
TRIES = 6
LONGEST_WAIT_S = 8.0
COUNTS = ("rows", "new", "updated", "unchanged", "refused")
PASSING = (429, 503)
JSON_LINES = "application/jsonl"
INTERRUPTED = 130
"""Exit code after Ctrl-C, as in shells."""


class Interrupted(Refused):
    """{detail}"""

    def __init__(self, cause: BaseException, sent: int, rows: int, file: Path) -> None:
        self._cause = cause
        reason = "it was interrupted." if isinstance(cause, KeyboardInterrupt) else str(cause)
        remedy = "Run the same command again: existing samples are not changed."
        status = getattr(cause, "http_status", getattr(cause, "status", 0))
        super().__init__(
            status, "import_interrupted", f"{sent} of {rows} samples of {file} were sent, but then: {reason} {remedy}"
        )

    @property
    def exit(self) -> int:
        return INTERRUPTED if isinstance(self._cause, KeyboardInterrupt) else super().exit


@dataclass(slots=True)
class UploadReport:
    """The result of the import of the whole file."""

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTS, 0))
    refusals: list[dict[str, Any]] = field(default_factory=list)

    def add(self, part: list[Record], answer: dict[str, Any]) -> None:
        for name in COUNTS:
            self.counts[name] += answer[name]
        self.refusals += [{**one, "line": part[one["line"] - 1].line} for one in answer["refusals"]]

    def refuse(self, record: Record, reason: str) -> None:
        self.counts["rows"] += 1
        self.counts["refused"] += 1
        self.refusals.append({"line": record.line, "reason": reason})

    def shown(self) -> dict[str, Any]:
        return {**self.counts, "refusals": sorted(self.refusals, key=lambda one: one["line"])}


def send(client: Client, file: Path, *, approve: bool) -> dict[str, Any]:
    """Import the file. Raises `InvalidInput`, `Interrupted`, and the error with which the first part is refused."""
    path = f"/api/dataset/import?approve={str(approve).lower()}"
    with _opened(file) as body:
        rows = sum(1 for _ in _records(file, body))
        if not rows:
            raise InvalidInput(where=str(file), problem="it has no sample", remedy="Write one JSON object per line")
        client.get("/api/auth/me")  # fail at once if the server is not running or the user is not signed in
        report = UploadReport()
        with _progress(rows) as advance:
            for part in _parts(_records(file, body)):
                try:
                    _send_part(client, path, part, report)
                except (KairosError, KeyboardInterrupt) as error:
                    if not report.counts["rows"] and isinstance(error, KairosError):
                        raise
                    raise Interrupted(error, report.counts["rows"], rows, file) from error
                advance(len(part))
        return report.shown()


def _send_part(client: Client, path: str, part: list[Record], report: UploadReport) -> None:
    lines = [_line(record, report) for record in part]
    kept = [record for record, line in zip(part, lines, strict=True) if line is not None]
    if not kept:
        return
    content = b"\n".join(line for line in lines if line is not None)
    try:
        report.add(kept, _tried(lambda: client.upload(path, content, JSON_LINES)))
    except Refused as error:
        if error.http_status != 413:
            raise
        if len(kept) == 1:
            return report.refuse(kept[0], str(error))
        for half in (kept[: len(kept) // 2], kept[len(kept) // 2 :]):
            _send_part(client, path, half, report)
    return None


def _line(record: Record, report: UploadReport) -> bytes | None:
    """The record on one line; None if it is not valid JSON. Line ends between values are insignificant."""
    if b"\n" not in record.text and b"\r" not in record.text:
        return record.text
    try:
        orjson.loads(record.text)
    except orjson.JSONDecodeError as error:
        report.refuse(record, f"it is not valid JSON ({error.msg})")
        return None
    return record.text.replace(b"\r", b" ").replace(b"\n", b" ")


def _tried(request: Callable[[], Any]) -> Any:
    """Send a request, with retries while the server is unavailable or busy, or another import is running."""
    for number in range(1, TRIES):
        try:
            return request()
        except NotRunning:
            pass
        except Refused as error:
            if error.http_status not in PASSING and error.problem_code != "import_running":
                raise
        time.sleep(min(LONGEST_WAIT_S, 0.5 * 2**number) * random.uniform(0.5, 1))
    return request()


def _parts(rows: Iterator[Record]) -> Iterator[list[Record]]:
    part: list[Record] = []
    size = 0
    for record in rows:
        if part and (len(part) == PART_ROWS or size + len(record.text) + 1 > PART_BYTES):
            yield part
            part, size = [], 0
        part.append(record)
        size += len(record.text) + 1
    if part:
        yield part


def _records(file: Path, body: bytes | mmap.mmap) -> Iterator[Record]:
    try:
        return records(body)
    except WideText as error:
        raise InvalidInput(where=str(file), problem="it is UTF-16", remedy="Save it as UTF-8") from error


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[bytes | mmap.mmap]:
    try:
        with file.open("rb") as opened:
            if not file.is_file() or not file.stat().st_size:
                yield opened.read()
            else:
                with mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                    yield mapped
    except OSError as error:
        problem = error.strerror or "it cannot be read"
        raise InvalidInput(where=str(file), problem=problem, remedy="Check the path") from error


@contextlib.contextmanager
def _progress(rows: int) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on standard error, if that is a terminal."""
    columns = TextColumn("samples"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=output.err, transient=True, disable=not output.err.is_terminal) as progress:
        task = progress.add_task("samples", total=rows)
        yield lambda number: progress.advance(task, number)
