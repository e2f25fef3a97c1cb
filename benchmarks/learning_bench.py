"""Parts shared by the benchmarks that train and gate adapters of the embedded model: prompts and the base's answers."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from kairos.agents.execution import SYSTEM
from kairos.fine_tuning.gate import control_prompts
from kairos.fine_tuning.gate.control_prompts import ControlPrompt

FRESH_PROMPTS = Path(__file__).with_name("fresh_prompts.txt")


@cache
def fresh_prompts() -> tuple[ControlPrompt, ...]:
    """Return fresh prompts of the gate's kind that neither the gate nor the training replay contains."""
    lines = [line.split("|") for line in FRESH_PROMPTS.read_text().splitlines() if not line.startswith("#")]
    found = tuple(
        ControlPrompt(prompt.strip(), tuple(answer.strip() for answer in answers.split(",")))
        for prompt, answers in lines
    )
    seen = {*control_prompts.replayed(), *(one.prompt for one in control_prompts.control())}
    assert seen.isdisjoint(one.prompt for one in found)
    return found


def messages(prompt: str, system: str | None = SYSTEM) -> tuple[Mapping[str, str], ...]:
    """Return the messages of a task, as the agent sends them, or without a system prompt."""
    user = {"role": "user", "content": prompt}
    return (user,) if system is None else ({"role": "system", "content": system}, user)


async def ignore_progress(what: str, done: int, of: int) -> None:
    del what, done, of


async def ignore_reports(reports: object) -> None:
    del reports


class AnswerFile:
    """Answers of a base at temperature 0, in a file of one JSON list per line: key, answer."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, str] = dict(json.loads(line) for line in complete_lines(path))

    @staticmethod
    def key(base: str, asked: tuple[Mapping[str, Any], ...], max_tokens: int) -> str:
        return json.dumps([base, max_tokens, *([one["role"], one["content"]] for one in asked)])

    def get(self, key: str) -> str | None:
        return self._known.get(key)

    def add(self, key: str, answer: str) -> None:
        self._known[key] = answer
        append_line(self._path, json.dumps([key, answer], ensure_ascii=False))


def complete_lines(path: Path) -> list[str]:
    """Return the lines of a file of JSON lines. A last line that a killed process left incomplete is cut off."""
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        part = path.with_name(path.name + ".part")
        part.write_bytes(whole)
        os.replace(part, path)
    return [line for line in whole.decode().split("\n") if line]


def append_line(path: Path, line: str) -> None:
    """Append a line, and return when it is on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())
