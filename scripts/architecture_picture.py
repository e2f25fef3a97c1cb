"""Draw the architecture of Kairos, light and dark: python -m scripts.architecture_picture

A test compares docs/pictures/architecture-*.svg with this script.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

FOLDER = Path(__file__).parents[1] / "docs" / "pictures"
WIDTH, HEIGHT = 960, 484
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
TITLE = "Architecture of Kairos"
DESCRIPTION = (
    "A task goes from its caller through API and queue to an agent. The agent calls a model that the router chooses;"
    " the guardian checks the draft. Scores train the router. People correct rejected answers; training makes adapters"
    " of them, and an evaluation gate puts better adapters into service as models."
)


@dataclass(frozen=True, slots=True)
class Palette:
    """The colours of one scheme."""

    page: str
    box: str
    text: str
    faint: str
    task: str
    """Arrows of a task's way."""
    learning: str
    """Arrows of the learning loop."""


PALETTES = {
    "light": Palette("#ffffff", "#f1f5f9", "#0f172a", "#475569", "#2563eb", "#b45309"),
    "dark": Palette("#0d1117", "#1c2430", "#e6edf3", "#a3b1c2", "#6ea8fe", "#f0a850"),
}


@dataclass(frozen=True, slots=True)
class Box:
    """A part of Kairos: its title, and lines that explain it."""

    x: int
    y: int
    width: int
    title: str
    lines: tuple[str, ...]
    height: int = 84


BOXES = (
    Box(16, 28, 140, "Callers", ("dashboard,", "command line, HTTP")),
    Box(196, 28, 140, "API", ("validates and", "stores the task")),
    Box(376, 28, 140, "Queue", ("fair between projects,", "leases, retries")),
    Box(556, 28, 140, "Agent", ("writes a draft, and one", "more after a rejection")),
    Box(800, 28, 144, "Guardian", ("form, safety of code,", "schema, tests, judge")),
    Box(376, 164, 140, "Models", ("embedded, Ollama,", "providers, adapters")),
    Box(556, 164, 140, "Router", ("measured quality,", "cost and latency")),
    Box(376, 300, 140, "Gate", ("adapter against base,", "as served")),
    Box(556, 300, 140, "Training", ("adapters from", "approved samples")),
    Box(800, 300, 144, "People", ("accept, correct and", "reject answers")),
    Box(
        16,
        412,
        928,
        "PostgreSQL: tasks, decisions, verdicts, samples",
        ("Valkey or Redis: order of the queue, cache, notices",),
        52,
    ),
)
TASK, LEARNING = "task", "learning"
ARROWS = (
    (TASK, "M156 70 H190"),
    (TASK, "M336 70 H370"),
    (TASK, "M516 70 H550"),
    (TASK, "M696 56 H794"),
    (TASK, "M800 86 H702"),
    (TASK, "M626 112 V158"),
    (TASK, "M556 206 H522"),
    (LEARNING, "M836 112 V206 H702"),
    (LEARNING, "M890 112 V294"),
    (LEARNING, "M800 342 H702"),
    (LEARNING, "M556 342 H522"),
    (LEARNING, "M446 300 V254"),
)
LABELS = (
    (748, 48, "middle", "draft"),
    (748, 104, "middle", "findings"),
    (634, 140, "start", "request"),
    (770, 198, "middle", "score"),
    (882, 262, "end", "answer"),
    (751, 334, "middle", "samples"),
    (454, 282, "start", "better adapter"),
)
LEGEND = ((TASK, 196, "a task's way"), (LEARNING, 222, "the learning loop"))


def files() -> dict[Path, str]:
    """Return the pictures with their content."""
    return {FOLDER / f"architecture-{scheme}.svg": picture(palette) for scheme, palette in PALETTES.items()}


def picture(palette: Palette) -> str:
    """Return the picture in these colours as SVG."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" font-family="{FONT}">',
        f"<title>{TITLE}</title><desc>{DESCRIPTION}</desc>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="8" fill="{palette.page}"/>',
        *(_marker(kind, colour) for kind, colour in _colours(palette).items()),
        *(_arrow(kind, path, palette) for kind, path in ARROWS),
        *(part for box in BOXES for part in _box(box, palette)),
        *(_text(x, y, text, 13, palette.faint, anchor) for x, y, anchor, text in LABELS),
        *(part for kind, y, text in LEGEND for part in _legend(kind, y, text, palette)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _colours(palette: Palette) -> dict[str, str]:
    return {TASK: palette.task, LEARNING: palette.learning}


def _marker(kind: str, colour: str) -> str:
    return (
        f'<marker id="{kind}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0 L8 4 L0 8 z" fill="{colour}"/></marker>'
    )


def _arrow(kind: str, path: str, palette: Palette) -> str:
    colour = _colours(palette)[kind]
    return f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2" marker-end="url(#{kind})"/>'


def _box(box: Box, palette: Palette) -> Iterator[str]:
    yield (
        f'<rect x="{box.x}" y="{box.y}" width="{box.width}" height="{box.height}" rx="8"'
        f' fill="{palette.box}" stroke="{palette.faint}"/>'
    )
    middle, first = box.x + box.width // 2, box.y + (28 if len(box.lines) > 1 else 22)
    yield _text(middle, first, box.title, 16, palette.text, "middle", bold=True)
    for number, line in enumerate(box.lines, 1):
        yield _text(middle, first + 19 * number, line, 12, palette.faint, "middle")


def _legend(kind: str, y: int, text: str, palette: Palette) -> Iterator[str]:
    yield _arrow(kind, f"M20 {y} H56", palette)
    yield _text(66, y + 4, text, 13, palette.faint, "start")


def _text(x: int, y: int, text: str, size: int, colour: str, anchor: str, *, bold: bool = False) -> str:
    weight = ' font-weight="600"' if bold else ""
    return (
        f'<text x="{x}" y="{y}" font-size="{size}"{weight} fill="{colour}" text-anchor="{anchor}">{escape(text)}</text>'
    )


def main() -> None:
    """Write the pictures."""
    for path, text in files().items():
        path.write_text(text)


if __name__ == "__main__":
    main()
