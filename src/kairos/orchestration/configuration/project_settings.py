"""What a project may set for itself, as its row keeps it: typed, with unknown keys refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kairos.config import merged
from kairos.errors import InvalidInput
from kairos.lanes import Lane
from kairos.text import JsonObject, Text

MOST = 100_000
LONGEST_GUIDELINE = 20_000

AgentName = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]


class ProjectSettings(BaseModel):
    """Every setting of a project, with what holds where nothing was set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hold_answers: bool = Field(False, description="Show nothing of an answer before the guardian's verdict.")
    interactive_cap: int | None = Field(
        None, ge=1, le=MOST, description="Interactive tasks that run at once, over all daemons; null sets no limit."
    )
    batch_cap: int | None = Field(None, ge=1, le=MOST, description="The same for batch tasks.")
    weight: float = Field(
        1, ge=0.1, le=10, allow_inf_nan=False, description="Share of the workers against other projects."
    )
    local_only: bool = Field(False, description="Never send a prompt to a model on other hardware.")
    run_tests: bool = Field(True, description="Run the tests given with a task.")
    labelling_guideline: Text = Field(
        "",
        max_length=LONGEST_GUIDELINE,
        description="What people who label should go by; it stands beside every row.",
    )

    disabled_plugins: list[AgentName] = Field(
        [], max_length=200, description="Plugins and built-in agents that take no tasks of this project, by name."
    )
    plugin_settings: dict[AgentName, JsonObject] = Field(
        {}, max_length=200, description="Configuration of plugins, by name, in place of the system's values."
    )

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> ProjectSettings:
        """As a row has them. What only another version of Kairos knows is passed over."""
        return cls.model_validate({name: value for name, value in stored.items() if name in cls.model_fields})

    def changed(self, by: ProjectSettings) -> ProjectSettings:
        """With the values that `by` was given, and no others."""
        return self.model_copy(update=by.model_dump(include=by.model_fields_set))

    def cap(self, lane: Lane, most: int | None) -> int | None:
        """Running tasks at once in a lane: the project's own limit or the installation's, whichever is less."""
        own = {Lane.INTERACTIVE: self.interactive_cap, Lane.BATCH: self.batch_cap}.get(lane)
        return min((limit for limit in (own, most) if limit is not None), default=None)


def settings_after(before: ProjectSettings, changes: Mapping[str, Any]) -> ProjectSettings:
    """With these values: null takes one back to its default, a mapping is merged. Raises `InvalidInput`."""
    values = before.model_dump()
    for name, value in changes.items():
        if value is None:
            values.pop(name)
        else:
            values[name] = merged(values[name], value) if isinstance(value, Mapping) else value
    try:
        return ProjectSettings.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        problem = f"{first['msg'][0].lower()}{first['msg'][1:]}, got {first['input']!r}"
        raise InvalidInput(where=f"project.{where}", problem=problem, remedy="Correct the value") from None
