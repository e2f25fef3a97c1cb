"""Tables that fit the terminal: text is folded at spaces only, and optional columns are hidden if there is no room."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from kairos import printable
from kairos.cli import console

GAP = 2
LONGEST_UNFOLDED = 24
"""Characters without a space; a longer sequence may be folded."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column, from a heading with marks at its end: `#` for numbers, `?` for an optional column."""

    name: str
    numbers: bool
    optional: bool
    whole: bool
    """Whether its lines are never folded: the first column, ids, numbers and states."""

    @classmethod
    def of(cls, heading: str, place: int) -> Column:
        name = heading.rstrip("#?")
        numbers = "#" in heading[len(name) :]
        whole = place == 0 or numbers or name in ("id", "state", "health", "role")
        return cls(name, numbers, "?" in heading[len(name) :], whole)


def table(headings: Sequence[str], rows: Iterable[Sequence[RenderableType]]) -> RenderableType:
    """A table at most as wide as the terminal; in a very narrow terminal, each row as a list."""
    columns = [Column.of(heading, place) for place, heading in enumerate(headings)]
    cells = [[_cell(value) for value in row] for row in rows]
    least = [_least(column, [row[place] for row in cells]) for place, column in enumerate(columns)]
    shown = _fitting(columns, least, console.out.width)
    if sum(least[place] for place in shown) + GAP * (len(shown) - 1) > console.out.width:
        return _records(columns, cells, max(least))
    return _with_note(_drawn(columns, cells, least, shown), columns, shown)


def _cell(value: RenderableType) -> Text:
    return value if isinstance(value, Text) else Text(printable.lines(str(value)))


def _least(column: Column, cells: Sequence[Text]) -> int:
    """The smallest width at which nothing is folded except at spaces."""
    pieces = column.name.split()
    for cell in cells:
        pieces += cell.plain.split("\n") if column.whole else (text[:LONGEST_UNFOLDED] for text in cell.plain.split())
    return max(map(cell_len, pieces), default=0)


def _fitting(columns: Sequence[Column], least: Sequence[int], width: int) -> list[int]:
    """The indexes of the columns that fit; optional ones are removed from the right."""
    shown = list(range(len(columns)))
    while sum(least[place] for place in shown) + GAP * (len(shown) - 1) > width:
        optional = [place for place in shown if columns[place].optional]
        if not optional:
            break
        shown.remove(optional[-1])
    return shown


def _drawn(
    columns: Sequence[Column], cells: Sequence[Sequence[Text]], least: Sequence[int], shown: Sequence[int]
) -> Table:
    most = {place: max([cell_len(columns[place].name), *(_width(row[place]) for row in cells)]) for place in shown}
    widths = _shared(least, most, console.out.width - GAP * (len(shown) - 1))
    drawn = Table(box=None, pad_edge=False, header_style="dim", show_header=any(column.name for column in columns))
    for place in shown:
        justify = "right" if columns[place].numbers else "left"
        drawn.add_column(columns[place].name, justify=justify, overflow="fold", width=widths[place])
    for row in cells:
        drawn.add_row(*(row[place] for place in shown))
    return drawn


def _shared(least: Sequence[int], most: dict[int, int], room: int) -> dict[int, int]:
    """The width of each column: its minimum, plus a share of the remaining room, smallest needs first."""
    widths = {place: min(least[place], most[place]) for place in most}
    left = room - sum(widths.values())
    wanting = sorted(most, key=lambda place: most[place] - widths[place])
    for number, place in enumerate(wanting):
        more = min(most[place] - widths[place], left // (len(wanting) - number))
        widths[place] += more
        left -= more
    return widths


def _width(cell: Text) -> int:
    return max(map(cell_len, cell.plain.split("\n")))


def _with_note(drawn: Table, columns: Sequence[Column], shown: Sequence[int]) -> RenderableType:
    hidden = [column.name for place, column in enumerate(columns) if place not in shown]
    if not hidden:
        return drawn
    return Group(drawn, Text(f"not shown in {console.out.width} columns: {', '.join(hidden)}", style="dim"))


def _records(columns: Sequence[Column], cells: Sequence[Sequence[Text]], least: int) -> RenderableType:
    """Each row as a list of its named values, beside the names or, if that is too narrow, below them."""
    if max(cell_len(column.name) for column in columns) + GAP + least > console.out.width:
        return _stacked(columns, cells)
    drawn = Table(box=None, pad_edge=False, show_header=False)
    drawn.add_column(style="dim", no_wrap=True)
    drawn.add_column(overflow="fold")
    for number, row in enumerate(cells):
        if number:
            drawn.add_row("", "")
        for column, cell in zip(columns, row, strict=True):
            if cell.plain:
                drawn.add_row(Text(column.name), cell)
    return drawn


def _stacked(columns: Sequence[Column], cells: Sequence[Sequence[Text]]) -> RenderableType:
    parts: list[Text] = []
    for number, row in enumerate(cells):
        parts += [Text("")] if number else []
        for column, cell in zip(columns, row, strict=True):
            parts += [Text(column.name, style="dim"), cell] if cell.plain else []
    return Group(*parts)
