"""Every number in the configuration has bounds that the code below it can handle."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from kairos import config
from kairos.config import InvalidConfig, Settings

EXTREME_VALUES = [
    "nan",
    "inf",
    "-inf",
    "1e300",
    "-1e300",
    "1e-300",
    "0",
    "-1",
    "9" * 30,
    "-" + "9" * 30,
    "9" * 400,
    "9" * 5000,
]
EXTREME_VALUES += [str(2**31), str(2**53 + 1), str(2**63), "1e18", "true", "'x'", "0x" + "f" * 5000]


def numbers(model: type[BaseModel] = Settings, path: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yield each numeric field of the configuration with its dotted name."""
    for name, field in model.model_fields.items():
        types = [field.annotation, *get_args(field.annotation)]
        if sections := [t for t in types if isinstance(t, type) and issubclass(t, BaseModel)]:
            yield from numbers(sections[0], f"{path}{name}.")
        elif int in types or float in types:
            yield f"{path}{name}", field


NAMES = [name for name, _ in numbers()]


def text_of(name: str, value: str) -> str:
    """Return the text of a file that sets one number."""
    if name.startswith("models."):
        entry = "[[models]]\nname = 'a'\nbase_url = 'http://127.0.0.1/v1'\n"
        if ".price." in name:
            other = "input" if name.endswith("output") else "output"
            return f"{entry}price = {{ {name.rpartition('.')[2]} = {value}, {other} = 1 }}\n"
        return f"{entry}{name.rpartition('.')[2]} = {value}\n"
    section, _, key = name.rpartition(".")
    return f"[{section}]\n{key} = {value}\n" if section else f"{key} = {value}\n"


def of(settings: Any, name: str) -> Any:
    for part in name.split("."):
        settings = settings[0] if isinstance(settings, list) else settings
        settings = getattr(settings, part)
    return settings


def test_all_numbers_are_found():
    assert {"queue.retry_max_s", "cache.ttl_s", "models.price.input", "max_concurrent_tasks"} <= set(NAMES)


@pytest.mark.parametrize(("name", "field"), list(numbers()), ids=NAMES)
def test_number_has_a_lower_and_an_upper_bound(name: str, field: FieldInfo):
    inner = [item for argument in get_args(field.annotation) for item in getattr(argument, "__metadata__", ())]
    bounds = [*field.metadata, *inner]
    assert any(isinstance(bound, Ge | Gt) for bound in bounds), name
    assert any(isinstance(bound, Le | Lt) for bound in bounds), name


def read(file: Path, name: str) -> float | InvalidConfig:
    """Return the loaded number, or the error that refuses it."""
    try:
        return of(config.load(file), name)
    except InvalidConfig as refused:
        return refused


@pytest.mark.parametrize("value", EXTREME_VALUES, ids=lambda value: value[:12])
def test_extreme_number_is_usable_or_refused_by_name(tmp_path: Path, value: str):
    file = tmp_path / "kairos.toml"
    for name in NAMES:
        file.write_text(text_of(name, value))
        got = read(file, name)
        if isinstance(got, InvalidConfig):
            assert name.rpartition(".")[2] in str(got) or "not valid TOML" in str(got)
            assert len(str(got)) < 1000
        else:
            assert_usable(name, got)


@pytest.mark.parametrize("value", EXTREME_VALUES, ids=lambda value: value[:12])
def test_extreme_variable_is_usable_or_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str):
    file = tmp_path / "kairos.toml"
    file.write_text("")
    for name in (name for name in NAMES if not name.startswith("models.")):
        variable = "KAIROS_" + name.replace(".", "__").upper()
        with monkeypatch.context() as patch:
            patch.setenv(variable, value)
            got = read(file, name)
        if isinstance(got, InvalidConfig):
            assert variable in str(got)
        else:
            assert_usable(name, got)


def assert_usable(name: str, value: float) -> None:
    assert 0 <= value <= 2**53
    if name.endswith(("_s", "_seconds", "_hours", "_days")):
        assert timedelta(days=value if name.endswith("_days") else 0, seconds=value) <= timedelta(days=36_501)
    if name.endswith("_s"):
        assert value >= 0.01


@pytest.mark.parametrize("key", ["cache.ttl_s", "queue.retry_base_s", "queue.retry_max_s", "queue.lease_s"])
@pytest.mark.parametrize("value", [1e300, 1e-300, 0, -1, 10**30, 10**400, float("nan"), float("inf")])
def test_override_out_of_bounds_is_refused(key: str, value: float):
    with pytest.raises(InvalidConfig, match=key):
        config.with_overrides(Settings(), {key: value})
