"""The calls to an Ollama server that manage its models: list, describe, pull, delete.

Documented at https://github.com/ollama/ollama/blob/main/docs/api.md. The address is that of the OpenAI protocol, with
or without `/v1`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson

from kairos.errors import KairosError
from kairos.http import HttpClient, HttpCut, HttpError, HttpLimits, HttpStatus, joined, plain_address, server_root
from kairos.llm.calls.ollama_traits import OllamaTraits, traits
from kairos.llm.calls.server_problems import ServerProblem, ServerProblemKind
from kairos.llm.calls.upstream_models import Place, explained
from kairos.orchestration.providers.ollama.installed_models import (
    InstalledModel,
    LoadedModel,
    installed_models,
    loaded_models,
)
from kairos.orchestration.providers.ollama.pull_problem import RESUMES, PullProblem, pull_problem, stopped_early
from kairos.orchestration.providers.ollama.pull_stream import PullGarbled, PullProgress, PullRefused, PullStream

QUICK = HttpLimits(first_byte_s=10.0, idle_s=10.0, total_s=15.0, body_bytes=16 * 1024 * 1024)
DELETE = HttpLimits(first_byte_s=60.0, total_s=60.0)
PULL_HOURS = 12
PULL = HttpLimits(first_byte_s=60.0, idle_s=1800.0, total_s=PULL_HOURS * 3600.0, body_bytes=2**30)
"""Ollama reports 16 times a second while it downloads, and nothing while it computes the checksum of a file."""
NOT_OLLAMA = "Check that the provider's address is that of an Ollama server"

Value = TypeVar("Value")


class ModelNotInstalled(KairosError):
    """{name} is not installed on this Ollama server. List its models to see those that are."""

    status, code, exit_code = 404, "model_not_installed", 4


class PullFailed(Exception):
    """A pull has failed; `problem` explains it without secrets."""

    def __init__(self, problem: PullProblem) -> None:
        self.problem = problem
        super().__init__(problem.cause)


@dataclass(frozen=True, slots=True)
class ManagedOllama:
    """One Ollama server. Errors of its calls are `ServerProblem`s, which contain no secrets."""

    http: HttpClient
    place: Place

    async def installed(self) -> list[InstalledModel]:
        return await self._list("api/tags", installed_models)

    async def loaded(self) -> list[LoadedModel]:
        return await self._list("api/ps", loaded_models)

    async def describe(self, name: str) -> OllamaTraits:
        return traits(await self._json("POST", "api/show", {"model": name}))

    async def delete(self, name: str) -> None:
        """Delete a model from the disk. Raises `ModelNotInstalled`, `ServerProblem`."""
        try:
            async with self._call("DELETE", "api/delete", {"model": name}, DELETE):
                pass
        except HttpError as error:
            if isinstance(error, HttpStatus) and error.http_status == 404 and "model" in error.reason:
                raise ModelNotInstalled(name=name) from error
            raise self._problem(error) from error

    async def pull(self, name: str, *, insecure: bool) -> AsyncIterator[PullProgress]:
        """Pull a model; yields how far it is. A repeated pull continues where the last one stopped.

        Cancelling it closes the connection, on which Ollama stops downloading. Raises `PullFailed`.
        """
        stream, begun = PullStream(), False
        try:
            async with self._call("POST", "api/pull", {"model": name, "insecure": insecure}, PULL) as answer:
                while not stream.succeeded and (chunk := await answer.read(begun=begun)):
                    begun = True
                    try:
                        stream.feed(chunk)
                    except (PullGarbled, PullRefused):
                        yield stream.progress  # of the lines before the error
                        raise
                    yield stream.progress
            stream.close()
        except (HttpError, PullGarbled, PullRefused) as error:
            raise PullFailed(self._pull_problem(error, name)) from error
        if not stream.succeeded:
            raise PullFailed(stopped_early(name))

    def _pull_problem(self, error: Exception, name: str) -> PullProblem:
        if isinstance(error, PullRefused):
            return pull_problem(self._redacted(str(error)), name)
        if isinstance(error, PullGarbled):
            return PullProblem(f"the server did not answer like Ollama: {self._redacted(str(error))}", NOT_OLLAMA)
        if isinstance(error, HttpCut):
            return PullProblem(self._redacted(str(error)).rstrip("."), RESUMES)
        if isinstance(error, HttpStatus) and error.http_status in (400, 500):
            return pull_problem(self._redacted(error.reason), name)
        problem = self._problem(error) if isinstance(error, HttpError) else None
        return PullProblem(problem.cause, problem.remedy) if problem else pull_problem(str(error), name)

    async def _list(self, path: str, parse: Callable[[Any], list[Value] | None]) -> list[Value]:
        models = parse(await self._json("GET", path))
        if models is None:
            cause = f"{plain_address(self._url(path))} answered with JSON that is not a list of models"
            raise ServerProblem(ServerProblemKind.NOT_A_LISTING, cause, NOT_OLLAMA)
        return models

    async def _json(self, method: str, path: str, value: Any = None) -> Any:
        options: dict[str, Any] = {**self._options, "limits": QUICK}
        try:
            if method == "GET":
                return await self.http.get_json(self._url(path), **options)
            return await self.http.post_json(self._url(path), value, **options)
        except HttpError as error:
            raise self._problem(error) from error

    def _call(self, method: str, path: str, value: Any, limits: HttpLimits) -> Any:
        return self.http.stream(method, self._url(path), body=orjson.dumps(value), limits=limits, **self._options)

    @property
    def _options(self) -> dict[str, Any]:
        """What every request carries. Ollama itself needs no key, a proxy in front of it may."""
        secret = self.place.secret
        return {
            "token": secret.key,
            "headers": secret.headers,
            "public_only": self.place.public_only,
            "ca": self.place.ca,
        }

    def _url(self, path: str) -> str:
        return joined(server_root(self.place.address), path)

    def _problem(self, error: HttpError) -> ServerProblem:
        if isinstance(error, HttpStatus) and error.http_status in (404, 405):
            cause = f"{error.values['address']} answered {error.http_status}: {self._redacted(error.reason)}"
            return ServerProblem(ServerProblemKind.NOT_FOUND, cause, NOT_OLLAMA)
        return explained(error, self.place)

    def _redacted(self, text: str) -> str:
        for value in (self.place.secret.key, *self.place.secret.headers.values()):
            text = text.replace(value, "***") if value else text
        return text
