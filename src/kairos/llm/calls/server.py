"""Small calls to a model server beside chats: its list of models, and what it reports of one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import orjson

from kairos.http import HttpClient, HttpError, HttpGarbled, HttpLimits, HttpStatus, excerpt, plain_address

LISTED = 10_000
"""Maximum number of models taken from one list."""
LIST_OF_MODELS = "a list of models"
"""What is expected of a server whose JSON is something else."""


@dataclass(frozen=True, slots=True)
class Server:
    """A model server, with the limits of one call to it. Errors never contain its key."""

    http: HttpClient
    base_url: str
    api_key: str | None
    limits: HttpLimits
    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent with every request."""
    ca: str | None = None
    """Certificates in PEM that are trusted besides the system's."""
    public_only: bool = False
    """Whether it must be on the public internet, or be listed by an operator."""

    async def get_json(self, url: str, *, token: str | None = None, headers: Mapping[str, str] | None = None) -> Any:
        """GET an address; its JSON. Raises `HttpError`."""
        try:
            return await self.http.get_json(url, token=token, headers=self._with(headers), **self._terms)
        except HttpError as error:
            self._raise_without_key(error)

    async def post_json(
        self, url: str, value: Any, *, token: str | None = None, headers: Mapping[str, str] | None = None
    ) -> Any:
        """POST a value as JSON; the JSON of the response. Raises `HttpError`."""
        try:
            return await self.http.post_json(url, value, token=token, headers=self._with(headers), **self._terms)
        except HttpError as error:
            self._raise_without_key(error)

    @property
    def _terms(self) -> dict[str, Any]:
        return {"limits": self.limits, "public_only": self.public_only, "ca": self.ca}

    def _with(self, headers: Mapping[str, str] | None) -> Mapping[str, str]:
        return {**(headers or {}), **self.headers}

    def _raise_without_key(self, error: HttpError) -> NoReturn:
        """Raise the error without the server's body, and with the key removed from what the server repeated."""
        values = {name: self._hidden(value) for name, value in error.values.items()}
        if isinstance(error, HttpStatus):
            raise HttpStatus(
                address=str(values["address"]),
                http_status=error.http_status,
                reason=str(values["reason"]),
                retry_after_s=error.retry_after_s,
            ) from None
        # A failed connection keeps its cause, from which the probes recognise it; others may repeat the key.
        raise type(error)(**values) from (error.__cause__ if isinstance(error.__cause__, OSError) else None)

    def _hidden(self, value: object) -> object:
        return value.replace(self.api_key, "***") if isinstance(value, str) and self.api_key else value


def rows(value: Any, key: str, url: str) -> list[Mapping[str, Any]]:
    """Return the objects of the list `key` in a JSON object, in which null is an empty list, or those of a bare list.

    Raises `HttpGarbled` for anything else.
    """
    found = value or None
    if isinstance(value, Mapping) and key in value:
        found = [] if value[key] is None else value[key]
    if not isinstance(found, list):
        raise not_a_list(value, url)
    return [row for row in found[:LISTED] if isinstance(row, Mapping)]


def named(value: Any, key: str, url: str, names: Iterable[str]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the rows with their names; `names` are the fields that may hold it. Rows without a name are skipped.

    Raises `HttpGarbled` if no row of a list that is not empty has a name.
    """
    found = rows(value, key, url)
    listed = [(str(name), row) for row in found if isinstance(name := _first(row, names), str)]
    empty = not value if isinstance(value, list) else not value[key]
    if not listed and not empty:
        raise not_a_list(value, url)
    return listed


def not_a_list(value: Any, url: str) -> HttpGarbled:
    return HttpGarbled(address=plain_address(url), expected=LIST_OF_MODELS, excerpt=excerpt(orjson.dumps(value)))


def _first(row: Mapping[str, Any], names: Iterable[str]) -> Any:
    return next((row[name] for name in names if isinstance(row.get(name), str)), None)


def positive(value: Any) -> int | None:
    """Return a count of tokens that a server reports; None for anything else."""
    return value if type(value) is int and 0 < value <= 1_000_000_000 else None
