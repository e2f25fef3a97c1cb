"""The progress of a pull: the lines of JSON that `/api/pull` sends.

Ollama reports each file ("layer") with its digest, its size and the bytes present so far, and ends with the status
`success`. An error arrives as `{"error": …}` within a stream whose status is 200. Source:
https://github.com/ollama/ollama/blob/main/docs/api.md#pull-a-model
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import orjson

from kairos.http import error_message, excerpt
from kairos.orchestration.providers.ollama.installed_models import count

LINE_BYTES = 64 * 1024
MOST_LAYERS = 1000
DIGEST_LENGTH = 100
LAYER_BYTES = 2**42
"""4 TiB. 1,000 such layers still add up to a number that JavaScript represents exactly."""


class PullPhase(StrEnum):
    """What Ollama is doing for a pull."""

    STARTING = "starting"
    MANIFEST = "manifest"
    """Reading the list of files from the registry."""
    DOWNLOADING = "downloading"
    VERIFYING = "verifying"
    """Computing the checksums of the files."""
    FINISHING = "finishing"


@dataclass(frozen=True, slots=True)
class PullProgress:
    """How far a pull is: bytes of all files that the server has reported so far; None is unknown."""

    phase: PullPhase = PullPhase.STARTING
    completed: int | None = None
    total: int | None = None


class PullGarbled(Exception):
    """The stream is not Ollama's; the message is an excerpt."""


class PullRefused(Exception):
    """The server reports an error in the stream; the message is its text."""


class PullStream:
    """Parses the stream from arbitrary chunks.

    `succeeded` is set by the status `success`; `progress` is as of the last line.
    """

    def __init__(self) -> None:
        self.succeeded = False
        self._rest = b""
        self.progress = PullProgress()
        self._layers: dict[str, tuple[int, int | None]] = {}
        """Bytes present and size of each file, by digest."""

    def feed(self, chunk: bytes) -> PullProgress:
        """The progress after these bytes. Raises `PullGarbled`, `PullRefused`."""
        for line in self._lines(chunk):
            self._apply(line)
        return self.progress

    def close(self) -> None:
        """Apply a last line without a line break. Raises `PullGarbled`, `PullRefused`."""
        if self._rest.strip():
            self.feed(b"\n")

    def _lines(self, chunk: bytes) -> Iterator[Mapping[str, Any]]:
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in (*lines, self._rest):
            if len(line) > LINE_BYTES:
                raise PullGarbled(excerpt(line))
        for line in lines:
            if line.strip() and isinstance(value := _json(line), Mapping):
                yield value

    def _apply(self, line: Mapping[str, Any]) -> None:
        if line.get("error"):
            raise PullRefused(error_message(line) or excerpt(str(line["error"])))
        status, digest = line.get("status"), _digest(line)
        if status == "success":
            self.succeeded = True
        if digest is not None and (digest in self._layers or len(self._layers) < MOST_LAYERS):
            self._layers[digest] = self._layer(digest, line)
        completed, total = _sums(self._layers.values())
        phase = _phase(status) if isinstance(status, str) else None
        self.progress = replace(self.progress, phase=phase or self.progress.phase, completed=completed, total=total)

    def _layer(self, digest: str, line: Mapping[str, Any]) -> tuple[int, int | None]:
        """Bytes present and size of a file. Ollama leaves `completed` out while it is 0."""
        _, known = self._layers.get(digest, (0, None))
        total = count(line.get("total"), LAYER_BYTES)
        total = known if total is None else total
        completed = count(line.get("completed"), LAYER_BYTES) or 0
        return (completed if total is None else min(completed, total)), total


def _digest(line: Mapping[str, Any]) -> str | None:
    digest = line.get("digest")
    return digest[:DIGEST_LENGTH] if isinstance(digest, str) else None


def _json(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        raise PullGarbled(excerpt(line)) from None


def _sums(layers: Any) -> tuple[int | None, int | None]:
    """The bytes of all files of known size; without any, those present, of an unknown total."""
    known = [(completed, total) for completed, total in layers if total is not None]
    if known:
        return sum(completed for completed, _ in known), sum(total for _, total in known)
    return (sum(completed for completed, _ in layers) or None), None


def _phase(status: str) -> PullPhase | None:
    """The phase of a status; None if it is unknown."""
    if status == "pulling manifest":
        return PullPhase.MANIFEST
    for beginning, phase in (
        ("pulling ", PullPhase.DOWNLOADING),
        ("downloading ", PullPhase.DOWNLOADING),
        ("verifying ", PullPhase.VERIFYING),
        ("writing ", PullPhase.FINISHING),
        ("removing ", PullPhase.FINISHING),
    ):
        if status.startswith(beginning):
            return phase
    return PullPhase.FINISHING if status == "success" else None
