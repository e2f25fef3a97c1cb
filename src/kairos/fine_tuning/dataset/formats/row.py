"""The common result of all formats, and the parsing of messages that most formats share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn
from uuid import UUID

from kairos.text import LARGEST_INTEGER, fault_in

ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
"""`developer` is OpenAI's newer name for `system`; other models support only the latter."""
TOOL_ROLES = ("tool", "function")
LONGEST_TASK_TYPE = 100
TEXT_PARTS = ("text", "input_text", "output_text")

Message = dict[str, str]
Row = Mapping[str, Any]


class RowRefused(ValueError):
    """The dataset cannot accept a row; the message has the reason and the remedy."""


@dataclass(frozen=True, slots=True)
class Imported:
    """One row of an import."""

    messages: list[Message]
    """The prompt."""
    answer: str
    faulty: str | None = None
    task_type: str | None = None
    id: UUID | None = None
    """Id of the row that it was exported from."""
    version: int | None = None
    """The version of that row at the export."""
    project_id: UUID | None = None
    """The project it was exported from."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A message with OpenAI's weight: 0 marks an answer that must not be trained on."""

    role: str
    content: str
    weight: float = 1

    @property
    def message(self) -> Message:
        return {"role": self.role, "content": self.content}


def refuse(reason: str) -> NoReturn:
    raise RowRefused(reason)


def text(value: Any, where: str) -> str:
    """Return text, or the concatenation of text parts. Raises `RowRefused`."""
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
    """Return text that is not blank. Raises `RowRefused`."""
    found = text(value, where)
    if not found.strip():
        refuse(f"{where} is empty, so there is no answer to train on")
    return found


def turns(value: Any, where: str) -> list[Turn]:
    """Parse OpenAI messages. Raises `RowRefused` for invalid messages and unsupported content."""
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
        refuse(f"{where}.weight is {_shown(value)}; it must be 0 (not trained on) or 1")
    return value


def answered(conversation: list[Turn], where: str) -> tuple[list[Message], str]:
    """Return prompt and answer of a conversation: the last answer whose weight is not 0, and all messages before it.

    Later messages are left out. A conversation that does not end with an answer is refused.
    """
    kept = list(conversation)
    if kept[-1].role != "assistant":
        refuse(f"the last of {where} is not an answer: end with the assistant's message")
    while kept and (kept[-1].role != "assistant" or kept[-1].weight == 0):
        kept.pop()
    if not kept:
        refuse(f"every answer in {where} has weight 0, so there is none to train on")
    if len(kept) < 2:
        refuse(f"{where} has no prompt before the answer")
    return [one.message for one in kept[:-1]], answer(kept[-1].content, f"the answer in {where}")


def refuse_tools(row: Row) -> None:
    """Refuse rows with tools, as the prompt would be incomplete without them."""
    for name in ("tools", "functions"):
        if row.get(name):
            refuse(f"it offers `{name}` to the model; rows with tools are not supported")


def built(row: Row, messages: list[Message], right: str, faulty: str | None = None) -> Imported:
    """Build the row, with the fields that all formats share: `task_type`, `weight`, `label`, and Kairos' origin."""
    if weight(row.get("weight"), "row") == 0:
        refuse("its weight is 0, which excludes its answer from training")
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
