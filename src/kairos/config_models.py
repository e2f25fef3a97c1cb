"""The entries `[[models]]`: models behind addresses."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from kairos.config_section import Reach, Section, Share
from kairos.model_address import Unusable, key_variable, model_address


def _usable(read: Callable[[str], str], value: str) -> str:
    """What `read` makes of it; an error that does not repeat the value, which may hold a credential."""
    try:
        return read(value)
    except Unusable as fault:
        raise PydanticCustomError("unusable", "{fault}", {"fault": str(fault)}) from None


class PriceSettings(Section):
    input: float = Field(ge=0, le=1_000_000, description="USD per million input tokens.")
    output: float = Field(ge=0, le=1_000_000, description="USD per million output tokens.")


class ModelSettings(Section):
    """One `[[models]]` entry: a model behind an OpenAI-compatible address."""

    reach: ClassVar[Reach] = Reach.FILE
    name: str = Field(min_length=1, max_length=200, description="Name in Kairos, unique.")
    upstream: str | None = Field(
        default=None, description="Name the server knows it by; the same as `name` when left out."
    )
    base_url: Annotated[str, AfterValidator(partial(_usable, model_address))] = Field(
        description="OpenAI-compatible address with its version path; a query such as ?api-version=… may follow."
    )
    api_key_env: Annotated[str, AfterValidator(partial(_usable, key_variable))] | None = Field(
        default=None, description="Environment variable that holds the key."
    )
    local: bool = Field(default=False, description="Whether prompts stay on your own hardware.")
    price: PriceSettings | None = Field(
        default=None, description="USD per million tokens; left out means unknown, not free."
    )
    context: int = Field(
        default=8192,
        ge=256,
        le=2**31 - 1,
        description="Tokens of prompt and answer together; left out, what its server says (else 32768 in the cloud).",
    )
    specialties: list[str] = Field(default=[], description="Task types it is declared good at.")
    tier: Share | None = Field(default=None, description="Declared quality in [0, 1] before anything was measured.")
    capabilities: list[str] = Field(
        default=[],
        description="What requests may demand: tools, vision. json_schema, no_json_schema overrule what calls showed.",
    )
    runner: str | None = Field(default=None, description="Models with the same runner share one loaded copy.")
    weights: Path | None = Field(
        default=None, description="Its weights on this machine, to train adapters on: a GGUF file or a folder."
    )
    adapters: Literal["ollama"] | None = Field(
        default=None, description="What serves its adapters: `ollama` where base_url is one; left out, it gets none."
    )
