"""Decides for each row of an import if it is new, updates an existing row, or is unchanged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from kairos.db.models import SampleRow, SampleSource, SampleState
from kairos.fine_tuning.dataset.formats.row import Imported
from kairos.tenancy import ProjectId, UserId, new_id

Values = dict[str, Any]
"""A row: values by column."""
BEFORE = ("state", "corrected_output", "reason", "secrets")
"""Columns that an undo restores."""


class RowOutcome(StrEnum):
    """The result of importing one row."""

    NEW = "new"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A parsed row with its fingerprint and secrets, computed outside of the event loop."""

    line: int
    row: Imported
    fingerprint: bytes
    secrets: list[dict[str, str]]


@dataclass(frozen=True, slots=True)
class Decisions:
    """Values shared by all rows of one import."""

    project_id: ProjectId
    user_id: UserId
    approve: bool
    """Approve correct answers without review."""
    used: set[UUID] = field(default_factory=set)
    """Ids seen in the file. A second row with the same id is another answer, not an update of the first."""


class Batch:
    """The existing rows that a batch may match, and the rows to write."""

    def __init__(self, decisions: Decisions, known: Iterable[SampleRow]) -> None:
        self._decisions = decisions
        self._by_id: dict[UUID, Values] = {}
        self._by_content: dict[tuple[bytes, str], Values] = {}
        self._unanswered: dict[bytes, Values] = {}
        for row in known:
            self._index({column.name: getattr(row, column.name) for column in SampleRow.__table__.columns})
        self._added: dict[UUID, Values] = {}
        self._changed: dict[UUID, Values] = {}

    @property
    def added(self) -> list[Values]:
        return [*self._added.values()]

    @property
    def changed(self) -> list[Values]:
        return [*self._changed.values()]

    def place(self, one: Prepared) -> tuple[RowOutcome, str]:
        """The outcome of a row, with the reason if it is rejected."""
        known = self._known(one)
        if known is None:
            self._add(one)
            return RowOutcome.NEW, ""
        changes = {} if known["id"] in self._added else self._changes(known, one)
        if not changes:
            return RowOutcome.UNCHANGED, ""
        if self._is_outdated(known, one.row, changes):
            return RowOutcome.REFUSED, (
                f"it was changed in Kairos after the export (version {known['version']}, exported {one.row.version}). "
                f"Export it again, or remove `kairos` from the line to import it as another answer"
            )
        self._change(known, one, changes)
        return RowOutcome.UPDATED, ""

    def _known(self, one: Prepared) -> Values | None:
        named = self._by_id.get(one.row.id) if one.row.id and one.row.id not in self._decisions.used else None
        # A fault that Kairos found is evidence: with another prompt or rejected answer it is a different row.
        if named and (named["source"] == SampleSource.IMPORT or named["fingerprint"] == one.fingerprint):
            self._decisions.used.add(named["id"])
            return named
        return self._by_content.get((one.fingerprint, one.row.answer)) or self._unanswered.get(one.fingerprint)

    def _changes(self, known: Values, one: Prepared) -> Values:
        given = {"corrected_output": one.row.answer, "fingerprint": one.fingerprint}
        if one.row.task_type is not None:
            given["task_type"] = one.row.task_type
        changes = {name: value for name, value in given.items() if known[name] != value}
        if "fingerprint" in changes:
            changes |= {"prompt": one.row.messages, "faulty_output": one.row.faulty}
        state = self._state(SampleState(known["state"]), content_changed="corrected_output" in changes)
        return changes | ({"state": state} if state != known["state"] else {})

    def _state(self, state: SampleState, *, content_changed: bool) -> SampleState:
        if state is SampleState.HELD_OUT:
            return state
        if content_changed:
            return SampleState.APPROVED if self._decisions.approve else SampleState.CORRECTED
        return SampleState.APPROVED if self._decisions.approve and state is SampleState.CORRECTED else state

    def _is_outdated(self, known: Values, row: Imported, changes: Values) -> bool:
        """Whether a person changed the row after this project exported it."""
        if not changes.keys() & {"corrected_output", "fingerprint"}:
            return False
        exported = row.version if row.project_id == self._decisions.project_id else None
        return exported is not None and known["version"] > exported and not (known["previous"] or {}).get("import")

    def _change(self, known: Values, one: Prepared, changes: Values) -> None:
        before = {name: known[name] for name in BEFORE}
        undo = {**before, "by": str(self._decisions.user_id), "import": True} if "fingerprint" not in changes else None
        cleared = known["cleared_by"] if known["secrets"] == one.secrets else None
        self._by_content.pop((known["fingerprint"], known["corrected_output"]), None)
        known |= {
            **changes,
            "version": known["version"] + 1,
            "secrets": one.secrets,
            "cleared_by": cleared,
            "labelled_by": self._decisions.user_id,
            "labelled_at": datetime.now(UTC),
            "claimed_until": None,
            "previous": undo,
        }
        self._changed[known["id"]] = known
        self._unanswered.pop(one.fingerprint, None)
        self._index(known)

    def _add(self, one: Prepared) -> None:
        wanted = one.row.id
        fresh = wanted is not None and wanted not in self._by_id and wanted not in self._decisions.used
        values = {
            "project_id": self._decisions.project_id,
            "id": wanted if fresh else new_id(),
            "task_type": one.row.task_type,
            "prompt": one.row.messages,
            "faulty_output": one.row.faulty,
            "corrected_output": one.row.answer,
            "reason": "Imported",
            "state": SampleState.APPROVED if self._decisions.approve else SampleState.CORRECTED,
            "source": SampleSource.IMPORT,
            "fingerprint": one.fingerprint,
            "secrets": one.secrets,
            "labelled_by": self._decisions.user_id,
        }
        if fresh:
            self._decisions.used.add(values["id"])
        self._added[values["id"]] = values
        self._by_content[one.fingerprint, one.row.answer] = {
            **values,
            "version": 1,
            "previous": None,
            "cleared_by": None,
        }

    def _index(self, values: Values) -> None:
        self._by_id[values["id"]] = values
        if values["corrected_output"] is not None:
            self._by_content[values["fingerprint"], values["corrected_output"]] = values
        elif values["state"] == SampleState.OPEN:
            self._unanswered[values["fingerprint"]] = values
