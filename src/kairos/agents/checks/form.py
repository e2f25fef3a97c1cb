"""Check of an answer's form: not empty, and complete."""

from __future__ import annotations

from kairos.agents.base import Draft
from kairos.agents.checks.check_result import CheckResult, error
from kairos.agents.finding import Finding
from kairos.llm.calls.answer_limits import AnswerLimit, LimitSource

CHECK = "form"
CUT = {
    "content_filter": "The model server's content filter withheld part of the answer.",
    None: "The answer is incomplete: the model's stream ended without a finish signal.",
}

ONLY_REASONING = (
    "The answer is empty: the model wrote reasoning and nothing after it. Allow more tokens (max_tokens),"
    " or ask for less."
)


def check_form(draft: Draft) -> CheckResult:
    """Reject empty and truncated answers. Gives no score: a complete answer may still be a bad one."""
    only_reasoning = is_empty(draft.text) and draft.reasoning
    if draft.finish_reason == "length" and not only_reasoning:
        return CheckResult(CHECK, (_truncated(draft.limit),))
    if draft.finish_reason in CUT:
        return CheckResult(CHECK, (error(CHECK, CUT[draft.finish_reason]),))
    if is_empty(draft.text):
        return CheckResult(CHECK, (error(CHECK, ONLY_REASONING if draft.reasoning else "The answer is empty."),))
    return CheckResult(CHECK)


def _truncated(limit: AnswerLimit | None) -> Finding:
    """Return a finding that names the limit and how to raise it. Its hint asks the model to write less."""
    if limit is None:
        detail = "at its token limit. Ask for a shorter answer, or raise max_tokens (`--max-tokens`)."
    elif limit.source is LimitSource.ASKED:
        detail = f"at {limit.tokens} tokens, the task's max_tokens (`--max-tokens`). Raise it, or ask for less."
    elif limit.source is LimitSource.DEFAULT:
        detail = (
            f"at {limit.tokens} tokens, the model's default answer limit. Raise it for this task with max_tokens "
            "(`--max-tokens`), or ask for a shorter answer."
        )
    else:
        detail = (
            f"at {limit.tokens} tokens, the rest of the model's context. Ask for a shorter answer, or choose a model "
            "with a larger context."
        )
    most = f" Write at most {limit.tokens // 2} words." if limit else ""
    return error(CHECK, f"The answer was truncated {detail}", hint=f"The answer was too long and was cut off.{most}")


def is_empty(text: str) -> bool:
    return not text.strip().strip("\x00")
