"""Errors of model calls: one type for each kind, whether it counts against the server, and the remedy."""

from __future__ import annotations

import re
from typing import Any

from kairos.errors import KairosError
from kairos.http import (
    CallPhase,
    HttpCut,
    HttpError,
    HttpStatus,
    HttpTimeout,
    HttpTooLarge,
    HttpUnreachable,
    plain_address,
)
from kairos.llm.answers.answer import (
    AnswerBuilder,
    AnswerFault,
    AnswerTooLong,
    BadFinishReason,
    ProviderFault,
    ReportedError,
    StreamCut,
    Usage,
)
from kairos.llm.answers.finish_reason import Ending
from kairos.llm.catalog.catalog import Model

APIS = {"openai": "an OpenAI-compatible API", "ollama": "an Ollama server", "anthropic": "Anthropic's Messages API"}
"""The servers of the built-in protocols, as messages name them."""
OVERLOADED = 529
"""The status of Anthropic's overloaded servers."""


class ModelCallError(KairosError):
    """The model {model} did not answer: {reason}."""

    status, code, exit_code = 502, "model_call_failed", 3
    retryable = True
    infrastructure: bool = False
    """Whether it counts for the circuit breaker, because the server or the network failed."""
    permanent: bool = False
    """Whether only a changed configuration or a manual reset can fix it."""

    def __init__(
        self,
        *,
        model: str,
        reason: str,
        infrastructure: bool | None = None,
        retry_after_s: float | None = None,
        partial: str = "",
        usage: Usage | None = None,
        duration_s: float = 0.0,
        **values: object,
    ) -> None:
        self.model = model
        self.reason = reason
        if infrastructure is not None:
            self.infrastructure = infrastructure
        self.retry_after_s = retry_after_s
        self.partial = partial
        """The text received before the failure."""
        self.usage = usage
        self.duration_s = duration_s
        super().__init__(model=model, reason=reason, **values)


class ModelTimeout(ModelCallError):
    """The model {model} timed out after {seconds:.1f} s while waiting for {phase}. {remedy}"""

    status, code = 504, "model_timeout"
    infrastructure = True


class ModelUnreachable(ModelCallError):
    """The model {model} cannot be reached at {base_url}: {reason}. Check that its server is running and that `base_url`
    in kairos.toml is correct."""

    code = "model_unreachable"
    infrastructure = True


class ModelServerError(ModelCallError):
    """The server of the model {model} failed with {http_status}: {reason}. See the server's log."""

    code = "model_server_error"
    infrastructure = True


class ModelOverloaded(ModelServerError):
    """The server of the model {model} is overloaded ({http_status}): {reason}. Try again later, or add another model in
    kairos.toml."""

    status, code = 503, "model_overloaded"


class ModelRateLimited(ModelCallError):
    """The server of the model {model} has reached its rate limit (429): {reason}. Raise the limit there, or add another
    model in kairos.toml."""

    status, code = 503, "model_rate_limited"
    infrastructure = True


class ModelRefused(ModelCallError):
    """The server of the model {model} refused the call with {http_status}: {reason}. {remedy}"""

    code = "model_refused"
    retryable, permanent = False, True


class ModelRequestInvalid(ModelCallError):
    """The model {model} does not accept this request ({http_status}): {reason}. Change the request, or name another
    model."""

    status, code = 422, "model_request_invalid"
    retryable = False


class ModelAnswerInvalid(ModelCallError):
    """The response from {base_url} for the model {model} is not a valid answer: {reason}. Check that `base_url` in
    kairos.toml points to {api}."""

    code = "model_garbage"
    infrastructure = True


class ModelStreamCut(ModelCallError):
    """The answer of the model {model} was cut off: {reason}. See the log of its server."""

    code = "model_stream_cut"
    infrastructure = True


class ModelProviderFailed(ModelCallError):
    """The provider of the plugin that calls the model {model} failed: {reason}. See the daemon's log for the traceback,
    and correct the plugin."""

    status, code = 500, "model_provider_failed"


class ModelWithheld(ModelCallError):
    """The server of the model {model} withheld the answer: {reason}. Change the request, or name another model."""

    status, code = 422, "model_withheld"
    retryable = False


def failure(model: Model, error: HttpError | AnswerFault, answer: AnswerBuilder) -> ModelCallError:
    """Return the error of a call, including the text received before it."""
    kind, values = _kind(model, error)
    text, reason = answer.text(), str(values.pop("reason", error)).rstrip(". ")
    for secret in (model.api_key, *model.headers.values()):
        if secret:
            reason = reason.replace(secret, "***")
    return kind(
        model=model.name, reason=reason, partial=text, usage=answer.usage, duration_s=answer.seconds(), **values
    )


def _kind(model: Model, error: HttpError | AnswerFault) -> tuple[type[ModelCallError], dict[str, Any]]:
    match error:
        case HttpStatus():
            kind, values = _by_status(model, error.http_status, error.reason)
            return kind, {**values, "retry_after_s": error.retry_after_s}
        case ReportedError():
            return _by_status(model, error.http_status, str(error))
        case HttpTimeout():
            return ModelTimeout, _timeout(model, error)
        case HttpUnreachable():
            return ModelUnreachable, {"base_url": plain_address(model.base_url), "reason": error.values["reason"]}
        case HttpCut():
            return ModelStreamCut, {"reason": error.values["reason"]}
        case BadFinishReason(ending=Ending.WITHHELD):
            return ModelWithheld, {}
        case StreamCut() | BadFinishReason():
            return ModelStreamCut, {}
        case ProviderFault():
            return ModelProviderFailed, {}
        case HttpTooLarge() | AnswerTooLong():
            return ModelAnswerInvalid, {**_place(model), "infrastructure": False}
        case _:
            return ModelAnswerInvalid, _place(model)


def _place(model: Model) -> dict[str, str]:
    api = APIS.get(model.protocol, f"a server of the protocol {model.protocol}")
    return {"base_url": plain_address(model.base_url), "api": api}


def _by_status(model: Model, status: int, reason: str) -> tuple[type[ModelCallError], dict[str, Any]]:
    values: dict[str, Any] = {"http_status": status, "reason": reason}
    if status in (401, 402, 403, 404) or status < 400:
        return ModelRefused, {**values, "remedy": _remedy(model, status, reason)}
    if status == 429:
        return ModelRateLimited, values
    if status == OVERLOADED:
        return ModelOverloaded, values
    if status >= 500 or status in (408, 425):
        return ModelServerError, values
    return ModelRequestInvalid, values


def _remedy(model: Model, status: int, reason: str) -> str:
    """Return the remedy for a refusal."""
    where = f"for {model.name} in kairos.toml"
    if status == 402:
        return f"The account of the key in `api_key_env` {where} has no credit left. Add credit, or use another key."
    if status in (401, 403):
        unset = "" if model.api_key else " (none is set)"
        return f"Check the key in the environment variable that `api_key_env` names {where}{unset}."
    if status == 404 and re.search(rf"\bmodel\b|(?<!\w){re.escape(model.upstream)}(?!\w)", reason, re.IGNORECASE):
        pull = f" If the server is Ollama, run `ollama pull {model.upstream}`." if model.protocol != "anthropic" else ""
        return f"Check `upstream` {where}.{pull}"
    address = plain_address(model.base_url)
    if model.protocol != "openai":
        return f"Check `base_url` and `protocol` {where}: {address} must be the address of {_place(model)['api']}."
    return f"Check `base_url` {where}: {address} must be the address without /chat/completions, such as …/v1."


def _timeout(model: Model, error: HttpTimeout) -> dict[str, Any]:
    phase: str = error.phase
    infrastructure = True
    if error.phase is CallPhase.CONNECT:
        remedy = f"Check that the server at {plain_address(model.base_url)} is running and reachable."
    elif error.phase is CallPhase.FIRST_BYTE:
        phase = "the first token"
        remedy = "The server may be loading the model or overloaded: see its log, or name a smaller model."
    elif error.phase is CallPhase.IDLE:
        phase, remedy = "the next token", "The server stopped in the middle of its answer: see its log."
    else:
        infrastructure, remedy = False, "Give the task more time, or request a shorter answer."
    return {"phase": phase, "seconds": error.seconds, "remedy": remedy, "infrastructure": infrastructure}
