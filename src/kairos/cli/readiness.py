"""Request and validate the readiness of a daemon (`/api/health/ready`)."""

from __future__ import annotations

from typing import Any, TypeGuard

from kairos.cli.client import Client
from kairos.cli.transport import NotKairos, Refused


def readiness(client: Client) -> dict[str, Any]:
    """The readiness response, also of a daemon that is not ready. Raises `NotKairos` and errors of `Client.open`."""
    try:
        answer = client.open("GET", "/api/health/ready")
    except Refused as error:
        if error.http_status != 503 or not _is_readiness(error.answer):
            raise
        answer = error.answer
    if not _is_readiness(answer):
        raise NotKairos(address=client.address, reason="its response to /api/health/ready has another format")
    return answer


def _is_readiness(answer: Any) -> TypeGuard[dict[str, Any]]:
    if not (isinstance(answer, dict) and isinstance(answer.get("status"), str)):
        return False
    parts, isolation = answer.get("parts"), answer.get("isolation") or {"tests_run": 0, "full": 0, "detail": ""}
    whole = isinstance(isolation, dict) and {"tests_run", "full", "detail"} <= isolation.keys()
    return whole and isinstance(parts, dict) and all(_is_part(part) for part in parts.values())


def _is_part(part: Any) -> bool:
    return isinstance(part, dict) and all(isinstance(part.get(name), str) for name in ("state", "detail"))
