"""The consoles for all human-readable output.

Texts of tasks, models, servers and plugins are untrusted. Their control characters are escaped, and square brackets in
them are not markup: styles are given as `Text` or as the argument `style`.
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
    """A console on which printed text cannot move the cursor, set a colour or make a link."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, highlight=False, markup=False, emoji=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """Escape a text before it is measured, so that columns stay aligned."""
        return super().render_str(printable.lines(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Escape the content of `Text` objects."""
        for segment in super().render(renderable, options):
            text = segment.text if segment.control else printable.lines(segment.text)
            yield segment if text == segment.text else Segment(text, segment.style)


out = PlainConsole()
err = PlainConsole(stderr=True)


def tolerate_narrow_encodings() -> None:
    """Write characters that a stream's encoding does not support as escapes, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
