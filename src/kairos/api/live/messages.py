"""The models of tasks and events, which lists and the live WebSocket share, and the messages of that WebSocket."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue, RootModel

from kairos.db.models import EventKind, TaskState
from kairos.db.repositories.live.events import LiveEvent
from kairos.lanes import Lane


class TaskOut(BaseModel):
    id: UUID
    state: TaskState
    prompt: str
    agent: str
    task_type: str | None
    lane: Lane
    priority: int
    model: str | None
    output: str | None
    error: dict[str, JsonValue] | None
    attempts: int
    max_attempts: int
    cancel_requested: bool
    created_at: datetime
    not_before: datetime
    started_at: datetime | None
    finished_at: datetime | None


class ListedTaskOut(TaskOut):
    """A task in lists and live events."""

    cost_usd: float | None = Field(description="Sum of the known costs of its model calls; null if none is known.")


class EventOut(BaseModel):
    id: int
    attempt: int
    kind: EventKind
    data: dict[str, JsonValue]
    at: datetime


class Message(BaseModel):
    """A message, which always contains its type."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)


class LiveHelloOut(Message):
    """First message of a connection."""

    type: Literal["hello"] = "hello"
    cursor: str = Field(description="Position at which the events start.")


class LiveEventOut(EventOut, Message):
    """A committed event, with its task at the time of sending."""

    type: Literal["event"] = "event"
    cursor: str = Field(description="Resume after this event with `after=`.")
    task_id: UUID
    task: ListedTaskOut

    @classmethod
    def of(cls, event: LiveEvent) -> LiveEventOut:
        return cls(
            id=event.cursor.id,
            attempt=event.attempt,
            kind=event.kind,
            data=event.data,
            at=event.at,
            cursor=str(event.cursor),
            task_id=event.task_id,
            task=ListedTaskOut.model_validate(event.task, from_attributes=True),
        )


class LiveDeltaOut(Message):
    """A piece of a draft. It is not stored, and may be lost."""

    type: Literal["delta"] = "delta"
    task_id: UUID
    attempt: int
    draft: int
    offset: int = Field(description="Characters of the draft before this text; 0 when another model starts over.")
    text: str


class LivePingOut(Message):
    """Sent regularly, so that clients detect a lost connection."""

    type: Literal["ping"] = "ping"


LiveMessage = Annotated[LiveHelloOut | LiveEventOut | LiveDeltaOut | LivePingOut, Field(discriminator="type")]


class LiveMessageOut(RootModel[LiveMessage]):
    """A message of the WebSocket at `/api/events`."""
