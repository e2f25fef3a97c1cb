"""Settings of a project as stored in its row: typed, with unknown keys rejected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kairos.config import merge_patch
from kairos.errors import InvalidInput
from kairos.lanes import Lane
from kairos.text import JsonObject, Text

MAX_CAP = 100_000
MAX_GUIDELINE = 20_000

AgentName = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]


class ProjectSettings(BaseModel):
    """All settings of a project, with their defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hold_answers: bool = Field(default=False, description="Hide answers until the guardian's verdict.")
    interactive_cap: int | None = Field(
        default=None,
        ge=1,
        le=MAX_CAP,
        description="Maximum of interactive tasks running at once, over all daemons; null: no limit.",
    )
    batch_cap: int | None = Field(default=None, ge=1, le=MAX_CAP, description="The same for batch tasks.")
    weight: float = Field(
        default=1, ge=0.1, le=10, allow_inf_nan=False, description="Share of the workers relative to other projects."
    )
    local_only: bool = Field(default=False, description="Never send a prompt to a model on other hardware.")
    run_tests: bool = Field(default=True, description="Run the tests supplied with a task.")
    labelling_guideline: Text = Field(
        default="",
        max_length=MAX_GUIDELINE,
        description="Guideline for people who label, shown beside every row.",
    )

    disabled_plugins: list[AgentName] = Field(
        default=[], max_length=200, description="Names of plugins and built-in agents that this project has disabled."
    )
    plugin_settings: dict[AgentName, JsonObject] = Field(
        default={}, max_length=200, description="Plugin configuration by plugin name, overriding the system's values."
    )

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> ProjectSettings:
        """Settings from a stored row. Keys that this version of Kairos does not know are ignored."""
        return cls.model_validate({name: value for name, value in stored.items() if name in cls.model_fields})

    def changed(self, by: ProjectSettings) -> ProjectSettings:
        """A copy with the values set explicitly in `by`."""
        return self.model_copy(update=by.model_dump(include=by.model_fields_set))

    def cap(self, lane: Lane, most: int | None) -> int | None:
        """Maximum of running tasks in a lane: the project's limit or the installation's, whichever is lower."""
        own = {Lane.INTERACTIVE: self.interactive_cap, Lane.BATCH: self.batch_cap}.get(lane)
        return min((limit for limit in (own, most) if limit is not None), default=None)


def settings_after(before: ProjectSettings, changes: Mapping[str, Any]) -> ProjectSettings:
    """Settings after a change: null resets a value to its default, mappings are merged. Raises `InvalidInput`."""
    values = before.model_dump()
    for name, value in changes.items():
        if value is None:
            values.pop(name)
        else:
            values[name] = merge_patch(values[name], value) if isinstance(value, Mapping) else value
    try:
        return ProjectSettings.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        problem = f"{first['msg'][0].lower()}{first['msg'][1:]}, got {first['input']!r}"
        raise InvalidInput(where=f"project.{where}", problem=problem, remedy="Correct the value") from None
