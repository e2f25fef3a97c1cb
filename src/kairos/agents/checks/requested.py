"""The type of `checks` in requests and stored tasks, built from the registered checks.

A new check needs its own module and an import here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, create_model

from kairos.agents.base import Checks, TaskSpec
from kairos.agents.checks import answer_format, content, json_schema, task_tests
from kairos.agents.checks.registry import CHECKS, Check, in_order, requested
from kairos.tenancy import ProjectId

MODULES = (answer_format, content, json_schema, task_tests)
"""The modules that register checks."""


def checks_model() -> type[Checks]:
    """Return the type with one field for each registered check."""
    fields: dict[str, Any] = {check.attribute: _field(check) for check in in_order()}
    return create_model("RequestedChecks", __base__=Checks, **fields)


def _field(check: Check[Any]) -> tuple[Any, Any]:
    annotation = check.parameter | None if check.default is None else check.parameter
    values = {"alias": check.name, "description": check.description, "examples": check.examples}
    return annotation, Field(check.default, **{name: value for name, value in values.items() if value})


class RequestedChecks(checks_model()):
    """The checks of the guardian for the answer."""


async def accept(checks: Checks, owner: ProjectId) -> None:
    """Validate the parameters of all requested checks. Raises `InvalidInput`."""
    for check, parameter in requested(checks):
        await check.accept(parameter, owner)


def checks_from(stored: Mapping[str, Any]) -> Checks:
    """Return the checks of a stored row. Checks that this version of Kairos does not know are ignored."""
    return RequestedChecks.model_validate({name: value for name, value in stored.items() if name in CHECKS})


def spec_from(options: Mapping[str, Any], checks: Mapping[str, Any]) -> TaskSpec:
    """Return the specification of a stored row. Options that this version of Kairos does not know are ignored."""
    known = {name: value for name, value in options.items() if name in TaskSpec.model_fields and name != "checks"}
    return TaskSpec.model_construct(**known, checks=checks_from(checks))
