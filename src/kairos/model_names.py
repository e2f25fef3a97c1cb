"""The name that no model may have: `auto` lets the router choose."""

from __future__ import annotations

AUTO = "auto"


def is_reserved(name: str) -> bool:
    """Whether the name is `auto`, in any case: `Auto` would be mistaken for it."""
    return name.strip().lower() == AUTO
