"""Options of a model call that a caller may set. The API, the tasks table, agents and the router share this type."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from kairos.text import Text


class ModelParameters(BaseModel):
    """Parameters that are sent to the model server under the names of their fields. None is not sent."""

    model_config = ConfigDict(frozen=True)

    temperature: float | None = Field(default=None, ge=0, le=2)
    max_tokens: int | None = Field(default=None, ge=1, le=1_000_000)

    def parameters(self) -> dict[str, Any]:
        """Return the parameters that are set, by name."""
        values = {name: getattr(self, name) for name in ModelParameters.model_fields}
        return {name: value for name, value in values.items() if value is not None}


class CallOptions(ModelParameters):
    """All options of a call: the model's parameters, and the options that Kairos evaluates."""

    model: Text | None = Field(
        default=None, max_length=200, description="Name of a model; by default the router chooses."
    )
    system: Text | None = Field(
        default=None,
        min_length=1,
        max_length=100_000,
        description="System prompt, in place of the agent's own.",
        examples=["Answer in Turkish."],
    )
    session: Text | None = Field(
        default=None, max_length=200, description="Calls with the same session stay with one model."
    )
    cache: bool | None = Field(default=None, description="Use the response cache; by default only at temperature 0.")
