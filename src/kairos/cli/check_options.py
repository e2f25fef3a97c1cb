"""Command-line options for the checks of a task, from `check_options.json`.

The file is written by `python -m scripts.reference` from the registered checks. The registry itself takes .3 s to
import.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from functools import wraps
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import typer

from kairos.errors import InvalidInput
from kairos.text_files import read_text_file

FILE = "check_options.json"
CHECKS: dict[str, dict[str, Any]] = json.loads(files("kairos.cli").joinpath(FILE).read_text(encoding="utf-8"))
"""Help text and JSON schema of each check's parameter, by name."""
SCALARS = {"string": str, "integer": int, "number": float, "boolean": bool}


def with_check_options(command: Callable[..., None]) -> Callable[..., None]:
    """Replace the parameter `checks` of a command by one option for each check."""

    @wraps(command)
    def replaced(**values: Any) -> None:
        given = {name: _read(name, values.pop(name)) for name in CHECKS}
        command(**values, checks={name: value for name, value in given.items() if value is not None})

    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        parameters += map(_parameter, CHECKS) if parameter.name == "checks" else [parameter]
    replaced.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    replaced.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return replaced


def _parameter(name: str) -> inspect.Parameter:
    option = typer.Option(_option(name), help=CHECKS[name]["help"])
    annotation = Annotated[_type(CHECKS[name]["schema"]) | None, option]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _type(schema: Mapping[str, Any]) -> Any:
    """Return the type of an option. Objects and source code are read from files."""
    if schema["type"] == "array":
        return list[str]
    if schema["type"] == "object" or "contentMediaType" in schema:
        return Path
    return SCALARS[schema["type"]]


def _read(name: str, value: Any) -> Any:
    """Return the parameter of a check from the value of its option; None if it was not given."""
    if isinstance(value, Path):
        is_object = CHECKS[name]["schema"]["type"] == "object"
        return _json(value, _option(name)) if is_object else read_text_file(value, _option(name))
    return None if value == [] else value


def _json(file: Path, option: str) -> Any:
    try:
        return json.loads(read_text_file(file, option))
    except RecursionError:
        raise InvalidInput(where=option, problem=f"{file} is nested too deeply", remedy="Flatten it") from None
    except ValueError as error:
        raise InvalidInput(where=option, problem=f"{file} is not valid JSON: {error}", remedy="Fix the file") from None
