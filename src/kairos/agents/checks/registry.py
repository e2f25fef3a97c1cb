"""The registry of the checks that a task may request. The module of each check registers it.

    MAX_WORDS = register(Check(name="max_words", weight=1.0, parameter=Annotated[int, Field(ge=1)], run=_run, ...))

The API's request body, the stored JSON, the form of the dashboard and the options of `kairos task submit` are derived
from the registered checks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import BaseModel, TypeAdapter

from kairos.agents.checks.check_result import CheckedCode, CheckResult
from kairos.tenancy import ProjectId

if TYPE_CHECKING:  # the limited process imports this module, and would import the database with it
    from kairos.agents.base import Checks, Task

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CodeLimits:
    """How supplied code may be run on this host."""

    seconds: float
    memory_bytes: int
    allow_weak: bool
    """Run code even without full isolation."""
    refusal: Callable[[], Awaitable[str | None]]
    """Returns the reason why this host runs no supplied code, or None."""


@dataclass(frozen=True, slots=True)
class CheckedAnswer:
    """The answer that a check judges, with its task and the results of the code checks."""

    task: Task
    text: str
    code: CheckedCode
    limits: CodeLimits


@dataclass(frozen=True, slots=True)
class Wording:
    """A text of the dashboard in its languages."""

    en: str
    tr: str


async def _accept_all(parameter: Any, owner: ProjectId) -> None:
    """Accept every parameter that has the right type."""


def _reads_no_code(parameter: Any) -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Check(Generic[T]):
    """A check that a task may request by giving its parameter."""

    name: str
    """The key in `checks` of a task, and the name in findings and verdicts."""
    order: int
    """Checks run in this order; cheap ones come first."""
    weight: float
    """Weight of the check's score in the score of the verdict."""
    parameter: Any
    """Annotated type of the parameter, from which the JSON schema is derived."""
    description: str
    """Description of the parameter in the API."""
    option: str
    """Help text of the command-line option."""
    label: Wording
    """Label of the form field."""
    hint: Wording | None = None
    """Hint below the form field."""
    run: Callable[[T, CheckedAnswer], Awaitable[CheckResult | None]]
    """Judges an answer. Returns None if the code checks before it found no result for it."""
    accept: Callable[[T, ProjectId], Awaitable[None]] = _accept_all
    """Validates the parameter before a task is accepted. Raises `InvalidInput`."""
    reads_code: Callable[[T], bool] = _reads_no_code
    """Whether the check needs the answer to be parsed as Python."""
    default: Any = None
    """Value of the parameter if the check is not requested."""
    examples: list[Any] = field(default_factory=list)

    @property
    def attribute(self) -> str:
        """Name of the field in the model of the request body. Names of pydantic's own methods get a suffix."""
        return f"{self.name}_" if hasattr(BaseModel, self.name) else self.name

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of the parameter."""
        return TypeAdapter(self.parameter).json_schema()

    def of(self, checks: Checks) -> T | None:
        """Return the parameter that a task gives; None if it does not request this check."""
        value = getattr(checks, self.attribute, self.default)
        return None if value == self.default else value


CHECKS: dict[str, Check[Any]] = {}
"""The registered checks by name."""


def register(check: Check[T]) -> Check[T]:
    """Add a check to the registry. Raises `ValueError` if its name is taken."""
    if check.name in CHECKS:
        raise ValueError(f"the check {check.name!r} is already registered")
    CHECKS[check.name] = check
    return check


def in_order() -> list[Check[Any]]:
    """Return the registered checks in the order in which they run."""
    return sorted(CHECKS.values(), key=lambda check: check.order)


def requested(checks: Checks) -> list[tuple[Check[Any], Any]]:
    """Return the checks that a task requests, with their parameters."""
    found = ((check, check.of(checks)) for check in in_order())
    return [(check, parameter) for check, parameter in found if parameter is not None]
