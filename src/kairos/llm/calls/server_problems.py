"""Explains why a provider's server cannot be used: the cause, and the remedy."""

from __future__ import annotations

from enum import StrEnum

from kairos.errors import KairosError
from kairos.http import (
    HttpError,
    HttpForbidden,
    HttpGarbled,
    HttpStatus,
    HttpTimeout,
    HttpTooLarge,
    HttpUnreachable,
)
from kairos.llm.calls.server import LIST_OF_MODELS
from kairos.llm.catalog.provider_kinds import KINDS, ProviderKind


class ServerProblemKind(StrEnum):
    """Why a provider cannot be used."""

    FAILED = "failed"
    NO_CREDIT = "no_credit"
    NO_KEY = "no_key"
    NO_MODELS = "no_models"
    NO_TLS = "no_tls"
    NOT_A_LISTING = "not_a_listing"
    NOT_FOUND = "not_found"
    NOT_JSON = "not_json"
    PRIVATE_ADDRESS = "private_address"
    RATE_LIMITED = "rate_limited"
    REDIRECT = "redirect"
    REFUSED = "refused"
    SERVER_ERROR = "server_error"
    TIMEOUT = "timeout"
    TOO_LARGE = "too_large"
    UNREACHABLE = "unreachable"
    UNREADABLE_KEY = "unreadable_key"
    UNTRUSTED_CERTIFICATE = "untrusted_certificate"
    WEB_PAGE = "web_page"
    WRONG_KEY = "wrong_key"


class ServerProblem(KairosError):
    """The provider cannot be used: {cause}. {remedy}."""

    status, code, exit_code = 422, "provider_unusable", 3

    def __init__(self, kind: ServerProblemKind, cause: str, remedy: str) -> None:
        self.kind = kind
        self.cause = cause
        self.remedy = remedy
        super().__init__(cause=cause, remedy=remedy)


def problem_of(error: HttpError, kind: ProviderKind, with_key: bool) -> ServerProblem:
    """The cause and the remedy of a failed call to list models; `with_key` if it sent a key."""
    text = str(error).rstrip(".")
    match error:
        case HttpStatus():
            return _of_status(error, with_key)
        case HttpGarbled() if error.values["expected"] == LIST_OF_MODELS:
            return ServerProblem(
                ServerProblemKind.NOT_A_LISTING,
                f"{error.values['address']} answered with JSON that is not a list of models",
                "Give the address of the OpenAI-compatible API, which usually ends with /v1",
            )
        case HttpGarbled() if "<" in str(error.values["excerpt"])[:200]:
            return ServerProblem(
                ServerProblemKind.WEB_PAGE,
                f"{error.values['address']} answered with a web page",
                "Give the address of the API instead of the web site; it usually ends with /v1",
            )
        case HttpGarbled():
            return ServerProblem(
                ServerProblemKind.NOT_JSON, text, "Check that the address belongs to an OpenAI-compatible server"
            )
        case HttpForbidden():
            return ServerProblem(
                ServerProblemKind.PRIVATE_ADDRESS,
                f"{error.values['address']} is not on the public internet",
                f"Use a public address, or ask an operator to list it in `{error.values['key']}`",
            )
        case HttpTimeout():
            return ServerProblem(ServerProblemKind.TIMEOUT, text, "Check that the server is running and not overloaded")
        case HttpTooLarge():
            return ServerProblem(ServerProblemKind.TOO_LARGE, text, "Check that the address belongs to a model server")
        case HttpUnreachable():
            return _unreachable(str(error.values["reason"]), str(error.values["address"]), kind)
        case _:
            return ServerProblem(ServerProblemKind.FAILED, text, "Check the address and the server's log")


def no_models(kind: ProviderKind, address: str) -> ServerProblem:
    """The problem of a server that lists none."""
    return ServerProblem(ServerProblemKind.NO_MODELS, f"{address} lists no models", _load_one(kind))


def _of_status(error: HttpStatus, with_key: bool) -> ServerProblem:
    address, status = error.values["address"], error.http_status
    cause = f"{address} answered {status}: {error.reason}"
    if status in (401, 403):
        if not with_key:
            return ServerProblem(ServerProblemKind.NO_KEY, f"the server wants a key ({cause})", "Give a key")
        return ServerProblem(
            ServerProblemKind.WRONG_KEY,
            f"the server refused the key ({cause})",
            "Copy the key again, and check that it is still valid",
        )
    if 300 <= status < 400:
        return ServerProblem(
            ServerProblemKind.REDIRECT, cause, "Give the address that it redirects to, if you trust it"
        )
    if status in (404, 405):
        return ServerProblem(
            ServerProblemKind.NOT_FOUND,
            cause,
            "Check the path of the address: OpenAI-compatible APIs usually end with /v1",
        )
    if status == 429:
        return ServerProblem(
            ServerProblemKind.RATE_LIMITED, cause, "Wait, or check the limits and the credit of your account"
        )
    if status == 402:
        return ServerProblem(ServerProblemKind.NO_CREDIT, cause, "Add credit to your account")
    if status >= 500:
        return ServerProblem(ServerProblemKind.SERVER_ERROR, cause, "Try again later, and check the server's log")
    return ServerProblem(ServerProblemKind.REFUSED, cause, "Check the address and the key")


def _unreachable(reason: str, address: str, kind: ProviderKind) -> ServerProblem:
    cause = f"{address} cannot be reached: {reason}"
    if "certificate" in reason:
        return ServerProblem(
            ServerProblemKind.UNTRUSTED_CERTIFICATE,
            cause,
            "If it has its own authority, give its certificate in PEM (`ca`)",
        )
    if "TLS failed" in reason:
        return ServerProblem(ServerProblemKind.NO_TLS, cause, "Begin the address with http:// if the server has no TLS")
    if KINDS[kind].local:
        return ServerProblem(ServerProblemKind.UNREACHABLE, cause, _local_remedy(kind))
    return ServerProblem(ServerProblemKind.UNREACHABLE, cause, "Check the address, your network and its proxy")


def _local_remedy(kind: ProviderKind) -> str:
    listen = "set OLLAMA_HOST=0.0.0.0 for Ollama" if kind is ProviderKind.OLLAMA else "let the server listen on 0.0.0.0"
    return (
        f"Start the server. If Kairos runs in a container, {listen}, use host.docker.internal as its name, and check "
        "the firewall"
    )


def _load_one(kind: ProviderKind) -> str:
    if kind is ProviderKind.OLLAMA:
        return "Download one: `ollama pull llama3.2`"
    if KINDS[kind].local:
        return "Load a model on the server"
    return "Check that your account may use models"
