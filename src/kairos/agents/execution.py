"""The agent that writes code or text by calling a model through the router."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from kairos.agents.base import AttemptContext, Draft, Emit, Task
from kairos.agents.checks.answer_format import FORMAT, AnswerFormat
from kairos.agents.checks.json_schema import SCHEMA
from kairos.agents.checks.task_tests import TESTS
from kairos.agents.finding import Severity
from kairos.llm.calls.providers import ChatRequest
from kairos.llm.routing.llm_router import LLMRouter

SYSTEM = "You do the task you are given and answer with the result alone."
FORMATS = {
    AnswerFormat.PYTHON: "Answer with Python code in one ```python block.",
    AnswerFormat.JSON: "Answer with one JSON value and nothing else.",
    AnswerFormat.TEXT: "Answer with plain text.",
}
DRAFT_LENGTHS = (6_000, 1_500)
"""Characters of the rejected draft that a retry shows if the whole draft does not fit."""
FAULT_LENGTHS = (2_000, 120)
"""Characters of the findings if no draft fits beside them."""


class ExecutionAgent:
    """Writes code or text for a prompt. A retry includes the rejected draft and the guardian's findings."""

    name = "ExecutionAgent"
    capabilities = frozenset({"execute", "write", "code"})

    def __init__(self, router: LLMRouter) -> None:
        self._router = router

    async def perform(self, task: Task, attempt: AttemptContext, emit: Emit) -> Draft:
        messages, *shorter = _messages(task, attempt)
        answer = await self._router.complete(
            task.call_context(attempt),
            ChatRequest.of(
                messages,
                task.spec,
                response_format=response_format(SCHEMA.of(task.spec.checks)),
                shorter=tuple(shorter),
            ),
            emit,
            on_delta=attempt.stream.piece if attempt.stream else None,
            on_restart=attempt.stream.restart if attempt.stream else None,
            timeout_s=attempt.timeout_s,
        )
        return Draft(
            text=answer.completion.text,
            reasoning=answer.completion.reasoning,
            finish_reason=answer.completion.finish_reason,
            decision_id=str(answer.decision_id),
            model=answer.model,
            messages=answer.messages or messages,
            cached=answer.cached,
            limit=answer.limit,
        )


def _messages(task: Task, attempt: AttemptContext) -> list[tuple[Mapping[str, str], ...]]:
    """Return the messages for the model. For a retry, several versions with ever less of the draft and the findings, so
    that a retry fits wherever the first prompt did."""
    system = "\n".join([task.spec.system or SYSTEM, *_instructions(task)])
    first = ({"role": "system", "content": system}, {"role": "user", "content": _prompt(task, attempt)})
    if attempt.rejected is None:
        return [first]
    faults = _faults(attempt)
    forms = [attempt.rejected]
    forms += [shortened(attempt.rejected, most) for most in DRAFT_LENGTHS if len(attempt.rejected) > most]
    with_draft = [
        (*first, {"role": "assistant", "content": draft}, {"role": "user", "content": _correction(faults)})
        for draft in forms
    ]
    return [*with_draft, *(_without_draft(first, faults, most) for most in FAULT_LENGTHS)]


def shortened(text: str, most: int) -> str:
    """Return the beginning and end of a text, with a note between them on how many characters were left out."""
    if len(text) <= most:
        return text
    head = most * 2 // 3
    tail = most - head
    return f"{text[:head]}\n[… {len(text) - most:,} characters left out …]\n{text[-tail:]}"


def _without_draft(first: tuple[Mapping[str, str], ...], faults: str, most: int) -> tuple[Mapping[str, str], ...]:
    content = (
        f"{first[-1]['content']}\n\nAn earlier answer was rejected:\n{shortened(faults, most)}\nAvoid these faults."
    )
    return (*first[:-1], {"role": "user", "content": content})


def _prompt(task: Task, attempt: AttemptContext) -> str:
    return "\n\n".join([*attempt.context, task.prompt])


def _instructions(task: Task) -> list[str]:
    """The instruction that names the format of the answer, if the task requests one."""
    checks = task.spec.checks
    if (schema := SCHEMA.of(checks)) is not None:
        return [f"Answer with one JSON value that satisfies this schema: {orjson.dumps(schema).decode()}"]
    wanted = FORMAT.of(checks) or (AnswerFormat.PYTHON if TESTS.of(checks) else None)
    return [FORMATS[wanted]] if wanted else []


def _faults(attempt: AttemptContext) -> str:
    """Return the errors as a list for the model, with the hint in place of the message where there is one."""
    errors = [finding for finding in attempt.findings if finding.severity is Severity.ERROR]
    return "\n".join(dict.fromkeys(f"- {finding.hint or finding.message}" for finding in errors))


def _correction(faults: str) -> str:
    return f"That answer was rejected:\n{faults}\nWrite the whole answer again without these faults."


def response_format(schema: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return the response format that asks the server to constrain the output to the schema.

    The guardian checks the answer regardless.
    """
    if schema is None:
        return None
    return {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": dict(schema), "strict": True},
    }
