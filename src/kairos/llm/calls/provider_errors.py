"""Errors of providers: an unknown protocol, and a fault in the code of a plugin's provider."""

from __future__ import annotations

from kairos.errors import KairosError
from kairos.llm.calls.call_errors import ModelCallError


class UnknownProtocol(KairosError):
    """There is no provider for the protocol {protocol!r}. Known protocols: {known}. {remedy}"""

    status, code, exit_code = 422, "unknown_protocol", 2


class ModelProtocolUnknown(ModelCallError):
    """The model {model} was not called: {reason}"""

    code = "model_protocol_unknown"
    retryable, permanent = False, True
