"""The type of the `[[models]]` entries: models behind an address."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from kairos.config_section import ApplyMode, Section, Share
from kairos.errors import did_you_mean
from kairos.model_address import Unusable, key_variable, model_address
from kairos.model_names import AUTO, is_reserved

PROTOCOLS = ("openai", "ollama", "anthropic")
"""The built-in protocols of model servers."""
PLUGIN_PROTOCOL = "plugin:"
"""Prefix of a protocol that a plugin adds; the name of its provider follows."""
PROVIDER_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}"


def known_protocol(name: str) -> str:
    """Return the name of a protocol. Raises `ValueError` with the known ones.

    Providers of plugins are not looked up, because plugins are loaded after the configuration.
    """
    if name in PROTOCOLS or re.fullmatch(PLUGIN_PROTOCOL + PROVIDER_NAME, name, re.ASCII):
        return name
    nearest = did_you_mean(name, PROTOCOLS)
    known = f"known protocols: {', '.join(PROTOCOLS)}, and {PLUGIN_PROTOCOL}NAME for the provider of a plugin"
    raise PydanticCustomError("protocol", "{problem}", {"problem": f"{known}. {nearest}" if nearest else known})


def _usable(read: Callable[[str], str], value: str) -> str:
    """The value as `read` returns it. The validation error does not repeat the value: it may contain a credential."""
    try:
        return read(value)
    except Unusable as fault:
        raise PydanticCustomError("unusable", "{fault}", {"fault": str(fault)}) from None


def _unreserved(name: str) -> str:
    if is_reserved(name):
        raise ValueError(f"`{AUTO}` is reserved: it lets the router choose")
    return name


def server_folder(text: str) -> str:
    """An absolute path on another machine. Raises `Unusable`.

    vLLM takes a path that is not absolute for a repository's name and would fetch it from the internet.
    """
    if not re.fullmatch(r"(/|[A-Za-z]:[\\/]).*", text) or not text.isprintable():
        raise Unusable("it is not an absolute path; begin it with /")
    return text


class PriceSettings(Section):
    input: float = Field(ge=0, le=1_000_000, description="USD per million input tokens.")
    output: float = Field(ge=0, le=1_000_000, description="USD per million output tokens.")


class ModelSettings(Section):
    """One `[[models]]` entry: a model behind an address."""

    reach: ClassVar[ApplyMode] = ApplyMode.FILE
    name: Annotated[str, AfterValidator(_unreserved)] = Field(
        min_length=1, max_length=200, description="Name in Kairos, unique."
    )
    upstream: str | None = Field(default=None, description="Name of the model on its server; defaults to `name`.")
    base_url: Annotated[str, AfterValidator(partial(_usable, model_address))] = Field(
        description="Address of its server: OpenAI-compatible ones with the version path (…/v1); it may have a query "
        "such as ?api-version=…."
    )
    protocol: Annotated[str, AfterValidator(known_protocol)] = Field(
        default="openai",
        description="Protocol of its server: openai (any OpenAI-compatible one), ollama, anthropic, or plugin:NAME.",
    )
    api_key_env: Annotated[str, AfterValidator(partial(_usable, key_variable))] | None = Field(
        default=None, description="Environment variable that holds the API key."
    )
    local: bool = Field(default=False, description="Whether prompts stay on your own hardware.")
    price: PriceSettings | None = Field(
        default=None, description="USD per million tokens; without it the price is unknown, not free."
    )
    context: int = Field(
        default=8192,
        ge=256,
        le=2**31 - 1,
        description="Tokens of prompt and answer together; by default the server's value (else 32768 in the cloud).",
    )
    specialties: list[str] = Field(default=[], description="Task types for which the model is declared good.")
    tier: Share | None = Field(default=None, description="Declared quality in [0, 1], used until it is measured.")
    capabilities: list[str] = Field(
        default=[],
        description="Capabilities: tools, vision. json_schema and no_json_schema override the detected one.",
    )
    runner: str | None = Field(default=None, description="Models with the same runner share one loaded copy.")
    weights: Path | None = Field(
        default=None, description="Local weights to train adapters for: a GGUF file or a folder."
    )
    adapters: Literal["ollama", "vllm", "llamacpp"] | None = Field(
        default=None,
        description="Kind of the server at base_url, if it serves adapters of this model: `ollama`, `vllm` or "
        "`llamacpp`.",
    )
    adapters_path: Annotated[str, AfterValidator(partial(_usable, server_folder))] | None = Field(
        default=None,
        description="Folder of adapters (`lora_adapters` in the folder of models) as vLLM or llama.cpp sees it; by "
        "default the same path as here.",
    )
