"""A recorded table with every model's outcome for every prompt, read from CSV and validated."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kairos.errors import InvalidInput

COLUMNS = "The columns are task_type, q:MODEL in [0, 1], c:MODEL in USD and, optionally, l:MODEL in seconds."

Numbers = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ReplayTable:
    """A table with one row per prompt and one column per model."""

    models: tuple[str, ...]
    task_types: tuple[str, ...]
    """The task type of each row."""
    quality: tuple[Numbers, ...]
    cost: tuple[Numbers, ...]
    latency: tuple[Numbers, ...] | None = None

    def __len__(self) -> int:
        return len(self.task_types)

    @classmethod
    def read(cls, path: Path | str) -> ReplayTable:
        """Read a CSV file. Raises `InvalidInput` with line and column of the error."""
        try:
            with open(path, newline="", encoding="utf-8-sig") as file:
                return cls.parse(file, str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(where=path, problem=f"cannot be read ({error})", remedy="Give a CSV file.") from error

    @classmethod
    def parse(cls, lines: Iterable[str], where: str = "table") -> ReplayTable:
        rows = csv.reader(lines)
        try:
            header = [name.strip() for name in next(rows, [])]
            models, with_latency = _models(header, where)
            places = {name: place for place, name in enumerate(header)}
            wanted = {
                kind: [(f"{kind}:{model}", places[f"{kind}:{model}"]) for model in models]
                for kind in ("q", "c", "l")
                if kind != "l" or with_latency
            }
            return cls._filled(models, _records(rows, header, where), places["task_type"], wanted, where)
        except csv.Error as error:
            raise InvalidInput(where=where, problem=f"is not valid CSV ({error})", remedy=COLUMNS) from error

    @classmethod
    def _filled(
        cls,
        models: tuple[str, ...],
        records: Iterator[tuple[int, list[str]]],
        type_place: int,
        wanted: dict[str, list[tuple[str, int]]],
        where: str,
    ) -> ReplayTable:
        task_types: list[str] = []
        tables: dict[str, list[Numbers]] = {kind: [] for kind in wanted}
        for line, record in records:
            place = f"{where}, line {line}"
            if not record[type_place].strip():
                raise InvalidInput(where=place, problem="task_type is empty", remedy="Fill it in for every row.")
            task_types.append(record[type_place].strip())
            for kind, columns in wanted.items():
                tables[kind].append(
                    tuple(_number(record[at], f"{place}, {name}", _ALLOWED[kind]) for name, at in columns)
                )
        if not task_types:
            raise InvalidInput(where=where, problem="has no rows", remedy="Record at least one prompt.")
        latency = tuple(tables["l"]) if "l" in tables else None
        return cls(models, tuple(task_types), tuple(tables["q"]), tuple(tables["c"]), latency)


def _models(header: list[str], where: str) -> tuple[tuple[str, ...], bool]:
    """Return the models in the order of their q: columns, and whether latencies were recorded."""
    twice = sorted({name for name in header if header.count(name) > 1})
    models = tuple(name[2:] for name in header if name.startswith("q:"))
    needed = ["task_type", *(f"c:{model}" for model in models)]
    if any(name.startswith("l:") for name in header):
        needed += [f"l:{model}" for model in models]
    missing = [name for name in needed if name not in header]
    if not models:
        missing.append("q:MODEL")
    if missing:
        raise InvalidInput(where=where, problem=f"has no column {', '.join(missing)}", remedy=COLUMNS)
    if twice:
        raise InvalidInput(where=where, problem=f"has the column {', '.join(twice)} twice", remedy=COLUMNS)
    return models, any(name.startswith("l:") for name in header)


def _records(rows: Iterator[list[str]], header: list[str], where: str) -> Iterator[tuple[int, list[str]]]:
    for line, record in enumerate(rows, start=2):
        if not record:
            continue
        if len(record) != len(header):
            problem = f"has {len(record)} fields, the header {len(header)}"
            raise InvalidInput(where=f"{where}, line {line}", problem=problem, remedy="Fill in every column.")
        yield line, record


_ALLOWED: dict[str, tuple[str, Callable[[float], bool]]] = {
    "q": ("a number from 0 to 1", lambda value: 0.0 <= value <= 1.0),
    "c": ("a number of USD, 0 or more", lambda value: value >= 0.0),
    "l": ("a number of seconds, 0 or more", lambda value: value >= 0.0),
}


def _number(text: str, where: str, allowed: tuple[str, Callable[[float], bool]]) -> float:
    wanted, accepts = allowed
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or not accepts(value):
        raise InvalidInput(where=where, problem=f"{text!r} is not {wanted}", remedy="Correct it or drop the row.")
    return value
