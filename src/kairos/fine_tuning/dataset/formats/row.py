"""A row of the dataset as every format gives it, and the messages of which most formats are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn
from uuid import UUID

from kairos.text import LARGEST_INTEGER, fault_in

ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
"""OpenAI's developer messages are its newer name for the system's; models elsewhere know only the latter."""
TOOL_ROLES = ("tool", "function")
LONGEST_TASK_TYPE = 100
TEXT_PARTS = ("text", "input_text", "output_text")

Message = dict[str, str]
Row = Mapping[str, Any]


class RowRefused(ValueError):
    """The dataset cannot take a row; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Imported:
    """One row of an import."""

    messages: list[Message]
    """The prompt."""
    answer: str
    faulty: str | None = None
    task_type: str | None = None
    id: UUID | None = None
    """Of the row that it was exported from."""
    version: int | None = None
    """The version of that row at the export."""
    project_id: UUID | None = None
    """The project it was exported from."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A message with OpenAI's weight: 0 marks an answer that is not to be learned."""

    role: str
    content: str
    weight: float = 1

    @property
    def message(self) -> Message:
        return {"role": self.role, "content": self.content}


def refuse(reason: str) -> NoReturn:
    raise RowRefused(reason)


def text(value: Any, where: str) -> str:
    """Text, or content parts that are all text. Raises `RowRefused`."""
    if isinstance(value, list):
        return "".join(_part(part, where) for part in value)
    if not isinstance(value, str):
        refuse(f"{where} is not text" if value is not None else f"{where} is missing")
    if fault := fault_in(value):
        refuse(f"{where}: {fault}")
    return value


def _part(part: Any, where: str) -> str:
    if isinstance(part, str):
        return text(part, where)
    kind = part.get("type") if isinstance(part, dict) else None
    if kind not in TEXT_PARTS:
        refuse(f"{where} has a part of type {_shown(kind)}; a row can contain text only")
    return text(part.get("text"), where)


def optional_text(value: Any, where: str) -> str | None:
    return None if value is None else text(value, where)


def answer(value: Any, where: str) -> str:
    """Text that is not blank."""
    found = text(value, where)
    if not found.strip():
        refuse(f"{where} is empty, so there is no answer to learn")
    return found


def turns(value: Any, where: str) -> list[Turn]:
    """OpenAI messages. Raises `RowRefused` for what is no message, and for what a row cannot contain."""
    if not isinstance(value, list) or not value:
        refuse(f"{where} is not a list of messages with `role` and `content`")
    return [turn(message, f"{where}[{number}]") for number, message in enumerate(value)]


def turn(message: Any, where: str) -> Turn:
    if not isinstance(message, dict):
        refuse(f"{where} is not a message with `role` and `content`")
    role = message.get("role")
    if role in TOOL_ROLES:
        refuse(f"{where} is the result of a tool; rows with tool calls are not supported")
    if not isinstance(role, str) or role not in ROLES:
        refuse(f"{where} has the role {_shown(role)}; known roles: {', '.join(ROLES)}")
    if message.get("tool_calls") or message.get("function_call"):
        refuse(f"{where} calls a tool; rows with tool calls are not supported")
    if message.get("audio"):
        refuse(f"{where} has audio; a row can contain text only")
    return Turn(ROLES[role], text(message.get("content"), f"{where}.content"), weight(message.get("weight"), where))


def weight(value: Any, where: str) -> float:
    if value is None:
        return 1
    if not isinstance(value, (int, float)) or not 0 <= value <= 1:
        refuse(f"{where}.weight is {_shown(value)}; it is 0 (not learned) or 1")
    return value


def answered(conversation: list[Turn], where: str) -> tuple[list[Message], str]:
    """Prompt and answer of a conversation: the last answer whose weight is not 0, and everything before it.

    What follows that answer is left out. A conversation that ends without an answer is refused.
    """
    kept = list(conversation)
    if kept[-1].role != "assistant":
        refuse(f"the last of {where} is not an answer: end with the assistant's message")
    while kept and (kept[-1].role != "assistant" or kept[-1].weight == 0):
        kept.pop()
    if not kept:
        refuse(f"every answer in {where} has weight 0, which marks it as not to be learned")
    if len(kept) < 2:
        refuse(f"{where} has no prompt before the answer")
    return [one.message for one in kept[:-1]], answer(kept[-1].content, f"the answer in {where}")


def refuse_tools(row: Row) -> None:
    """Without its tools the prompt would be another one."""
    for name in ("tools", "functions"):
        if row.get(name):
            refuse(f"it offers `{name}` to the model; rows with tools are not supported")


def built(row: Row, messages: list[Message], right: str, faulty: str | None = None) -> Imported:
    """With what rows of every format may have: `task_type`, `weight`, `label`, and Kairos' own id and version."""
    if weight(row.get("weight"), "row") == 0:
        refuse("its weight is 0, which marks its answer as not to be learned")
    if row.get("label") is False:
        refuse("its label is false, which marks its answer as wrong")
    task_type = optional_text(row.get("task_type"), "`task_type`")
    if task_type is not None and len(task_type) > LONGEST_TASK_TYPE:
        refuse(f"`task_type` has more than {LONGEST_TASK_TYPE} characters")
    return Imported(messages, right, faulty, task_type, *_origin(row.get("kairos")))


def _origin(value: Any) -> tuple[UUID | None, int | None, UUID | None]:
    if value is None:
        return None, None, None
    if not isinstance(value, dict):
        refuse("`kairos` is not an object with `id`, `version` and `project`")
    version = value.get("version")
    if version is not None and (type(version) is not int or not 1 <= version <= LARGEST_INTEGER):
        refuse("`kairos.version` is not the version of a row")
    project = value.get("project")
    return _uuid(value.get("id"), "id"), version, None if project is None else _uuid(project, "project")


def _uuid(value: Any, name: str) -> UUID:
    try:
        return UUID(value)
    except (ValueError, AttributeError, TypeError):
        refuse(f"`kairos.{name}` is not an id")


def _shown(value: Any) -> str:
    return ascii(value)[:40]
