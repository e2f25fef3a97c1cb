"""The names of models in Ollama: `[host[:port]/][namespace/]model[:tag]`.

Source of the pattern: https://github.com/ollama/ollama/blob/v0.17.4/types/model/name.go
"""

from __future__ import annotations

import re

from kairos.errors import InvalidInput

LONGEST = 600
"""Characters of a name: a host of 350, and a namespace, a model and a tag of 80 each."""
_PART = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,79}"
_NAME = re.compile(
    rf"(?:(?:[A-Za-z0-9_][A-Za-z0-9._-]{{0,343}}(?::\d{{1,5}})?/)?[A-Za-z0-9_][A-Za-z0-9_-]{{0,79}}/)?{_PART}(?::{_PART})?"
)
PUBLIC_REGISTRIES = frozenset({"registry.ollama.ai", "ollama.com", "hf.co", "huggingface.co"})
_REMEDY = "Give it as in `ollama pull`: llama3.2, llama3.2:3b, or registry.example.com/team/model:tag"


def clean_model_name(name: str, where: str = "model") -> str:
    """The name without surrounding white space. Raises `InvalidInput`, which repeats at most 100 characters of it."""
    cleaned = name.strip().removeprefix("https://").removeprefix("http://")
    if not _NAME.fullmatch(cleaned):
        shown = cleaned[:100].encode("ascii", "backslashreplace").decode()
        raise InvalidInput(where=where, problem=f"{shown!r} is not the name of a model", remedy=_REMEDY)
    return cleaned


def registry_of(name: str) -> str | None:
    """The host that a name contains, in lower case; None if the model comes from Ollama's own registry."""
    parts = name.split("/")
    return parts[0].lower() if len(parts) == 3 else None
