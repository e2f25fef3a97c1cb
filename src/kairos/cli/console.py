"""The two consoles that everything for people is printed on.

Texts of tasks, models, servers and plugins reach a terminal here. Their control characters are shown as escapes, and
square brackets in them are no markup: styles are given as `Text` or as the argument `style`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from kairos import printable


class PlainConsole(Console):
    """A console on which no text but Kairos' own styles can move the cursor, set a colour or make a link."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, highlight=False, markup=False, emoji=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """Escaped before it is measured, so that columns stay aligned."""
        return super().render_str(printable.lines(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """What was given as a `Text` is escaped here."""
        for segment in super().render(renderable, options):
            text = segment.text if segment.control else printable.lines(segment.text)
            yield segment if text == segment.text else Segment(text, segment.style)


out = PlainConsole()
err = PlainConsole(stderr=True)


def tolerate_narrow_encodings() -> None:
    """Where a stream's encoding lacks a character, it is written as an escape, and the command does not fail."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
