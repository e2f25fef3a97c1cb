"""What the imitated Ollama sends for a pull: lines of JSON, as observed with Ollama 0.17.4.

A script is a sequence of objects (sent as JSON), bytes (sent as they are), `HOLD` and `LOST`.
"""

from __future__ import annotations

import json
from typing import Any

HOLD = object()
"""The server waits until `release`, if `hold` was called."""
LOST = object()
"""The server breaks the connection."""

MANIFEST = {"status": "pulling manifest"}
VERIFYING = {"status": "verifying sha256 digest"}
WRITING = {"status": "writing manifest"}
SUCCESS = {"status": "success"}
DIGEST = "sha256:" + "8eeb52df" * 8


def layer(completed: int | None, total: int | None, digest: str = DIGEST) -> dict[str, Any]:
    """Return the line for the bytes of one file. Ollama leaves 0 and unknown values out."""
    values = {"total": total, "completed": completed}
    given = {name: value for name, value in values.items() if value}
    return {"status": f"pulling {digest[7:19]}", "digest": digest, **given}


def error(text: str) -> dict[str, Any]:
    return {"error": text}


UNKNOWN_MODEL = (MANIFEST, error("pull model manifest: file does not exist"))
COMPLETE = (MANIFEST, layer(0, 100), layer(100, 100), VERIFYING, WRITING, SUCCESS)


def line(step: object) -> bytes:
    return step if isinstance(step, bytes) else json.dumps(step).encode() + b"\n"
