"""Parses the token limit from a server's refusal: the limit of an answer or of the whole context.

Supports the messages of OpenAI, Anthropic, vLLM, Mistral, Groq, Together, TGI, DeepSeek, DashScope, Zhipu, Bedrock,
Cohere, LM Studio, llama.cpp and Vertex.
"""

from __future__ import annotations

import re

MIN_CONTEXT = 256
NUMBER = r"[`'\" (]*(?<![\w-])(\d{1,3}(?:,\d{3})+|\d{2,7})(?![\w,]*\d|\w)"
ANSWER_LIMIT = re.compile(
    r"(?<![a-z])max(?:imum)?[_ ]?(?:(?:completion|output|new)[_ ]?)?tokens(?![a-z])", re.IGNORECASE
)
"""Servers' names for the answer limit."""
LARGEST = re.compile(
    "|".join(
        (
            r"(?:at most|less than or equal to|smaller than or equal to|<=|≤|up to|no (?:more|greater|larger) than)"
            + NUMBER,
            r"(?:not|n't) (?:be )?(?:exceed|(?:greater|larger|more|higher) than)" + NUMBER,
            r"max(?:imum)?\b[^.\d]{0,80}?" + NUMBER,
            r"limit(?:ed)?(?: (?:of|is|to))?:?" + NUMBER,
            r"(?<!\w)\d+ > " + NUMBER,
            r"tokens[`'\"]? > " + NUMBER,
            r"[\[(]\s*\d+\s*,\s*" + NUMBER + r"\s*\]",
            r"(?:between|from) \d+ (?:\(inclusive\) )?(?:and|to)" + NUMBER + r"(?! \(exclusive\))",
        )
    ),
    re.IGNORECASE,
)
LESS_THAN = re.compile(
    "|".join(
        (
            r"(?:less|lower|smaller|fewer) than" + NUMBER,
            r"(?:between|from) \d+ (?:\(inclusive\) )?(?:and|to)" + NUMBER + r" \(exclusive\)",
            r"[\[(]\s*\d+\s*,\s*" + NUMBER + r"\s*\)",
        )
    ),
    re.IGNORECASE,
)
"""Patterns whose number is itself not allowed."""
CONTEXT = re.compile(
    "|".join(
        (
            r"max(?:imum)? model len(?:gth)? (?:is|of) (\d{3,8})",
            r"context[ _](?:length|window|size)[`'\"]*(?: limit)?(?: is| of|:)?(?: only)?[ (]+(\d{3,8})",
            r"(\d{3,8}) maximum context",
            r"model token limit: (\d{3,8})",
            r"tokens[`'\"]? \+ [`'\"]?max_new_tokens[`'\"]? must be (?:<=|less than or equal to) (\d{3,8})",
            r"n_ctx['\"]?[ :=]+(\d{3,8})",
        )
    ),
    re.IGNORECASE,
)


def names_answer_limit(text: str) -> bool:
    """Whether a refusal mentions the answer limit."""
    return bool(ANSWER_LIMIT.search(text))


def allowed_answer(text: str, below: int) -> int | None:
    """Return the maximum answer tokens that a refusal allows, less than `below`; None if it contains no such number.

    Of several numbers the largest is used: too large a limit is refused once more, but too small a one would be saved.
    """
    limits = [_number(found) for found in LARGEST.finditer(text)]
    limits += [_number(found) - 1 for found in LESS_THAN.finditer(text)]
    return max((limit for limit in limits if 0 < limit < below), default=None)


def refused_context(text: str) -> int | None:
    """Return the context size in a refusal of a too long prompt and answer; None if it contains none."""
    found = CONTEXT.search(text)
    tokens = _number(found) if found else 0
    return tokens if tokens >= MIN_CONTEXT else None


def _number(found: re.Match[str]) -> int:
    return int(next(filter(None, found.groups())).replace(",", ""))
