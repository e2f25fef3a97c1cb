"""Output of the command line is escaped, without markup from outside, and never wider than the terminal."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.panel import Panel
from rich.progress import Progress, TextColumn
from rich.text import Text

from kairos.cli import console, output, tables
from tests.unit.test_printable import unsafe_characters

HOSTILE = "\x1b[31mred\x1b]0;title\x07\u202e\u200bx[red]y[/red][link=http://evil]z[/link]\r\n:boom:"
WIDTHS = [20, 40, 60, 80, 120]


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Replace the consoles by a terminal that stores its output."""
    kept = io.StringIO()
    for name in ("out", "err"):
        shown = console.PlainConsole()
        shown.file, shown._color_system, shown._force_terminal = kept, None, False  # type: ignore[attr-defined]
        monkeypatch.setattr(console, name, shown)
        monkeypatch.setattr(output, name, shown)
    return kept


def task(text: str) -> dict[str, object]:
    decision = {
        "chosen": text, "answered": text + "2", "kind": "exploit", "task_type": text, "quality": 0.5,
        "candidates": [dict.fromkeys(("utility", "mu", "bonus", "cost", "latency", "n"), 0.5) | {"model": text}],
        "excluded": [{"model": text, "reason": text, "detail": text}],
        "calls": [{"model": text, "error": text, "duration_s": 1.0, "success": False}],
    }  # fmt: skip
    verdict = {
        "approved": False, "score": None, "draft": 1, "checks": [text],
        "findings": [{"severity": "error", "message": text, "line": 1}],
    }  # fmt: skip
    return {
        "id": "1", "state": text, "agent": text, "attempts": 1, "max_attempts": 3, "prompt": text, "output": text,
        "started_at": None, "finished_at": None, "error": {"code": "x", "message": text},
        "decisions": [decision], "verdicts": [verdict],
    }  # fmt: skip


def safe(shown: str) -> bool:
    return set(unsafe_characters(shown)) <= {"\n"}


def test_task_with_hostile_texts_is_shown_as_plain_text(screen: io.StringIO):
    output.out.print(output.task_detail(task(HOSTILE)))
    shown = screen.getvalue()
    assert safe(shown)
    assert r"\x1b[31mred\x1b]0;title\x07\u202e\u200bx[red]y[/red][link=http://evil]z" in shown.replace("\n", "")
    assert ":boom:" in shown


@given(st.text(st.characters(exclude_categories=()), max_size=50))
def test_every_way_of_printing_any_text_is_safe(text: str):
    kept = io.StringIO()
    shown = console.PlainConsole()
    shown.file = kept
    shown.print(text)
    shown.print(text, output.prose(text), style="red")
    shown.print(output.line("a ", output.bold(text), output.state(text)))
    shown.print(Text(text), output.line(text, (text, "bold")), Panel(Text(text), title=Text(text)))
    shown.print(tables.table(["name", "text"], [[Text(text), Text(text, style="red")]]))
    shown.print(tables.table(["name", text], [[text, text], [output.state(text), "x"]]))
    assert safe(kept.getvalue())


def test_progress_and_status_texts_are_not_markup(screen: io.StringIO):
    with Progress(TextColumn("{task.description}", markup=False), console=console.out) as bar:
        bar.add_task("[bold]x[/bold]\x1b")
    assert "[bold]x[/bold]" in screen.getvalue()
    assert safe(screen.getvalue())


def test_json_for_programs_is_safe_on_a_terminal_and_keeps_its_values(capsys: pytest.CaptureFixture[str]):
    output.show_json({"x": HOSTILE})
    shown = capsys.readouterr().out
    assert safe(shown)
    assert __import__("json").loads(shown) == {"x": HOSTILE}


def test_text_for_a_pipe_keeps_its_lines(capsys: pytest.CaptureFixture[str]):
    output.show_text("a\tb\n\x1b[31mc")
    assert capsys.readouterr().out == "a\tb\n\\x1b[31mc\n"


COLUMNS = ["model", "health", "where?", "$/M in, out#?", "calls#", "quality#", "first token#?", "answer#?", "spent#?"]
ROW = [
    "ollama/llama3.2:3b",
    output.state("unhealthy"),
    "local",
    "unknown",
    "12",
    "0.91 ± 0.10",
    "1.20 s",
    "3.40 s",
    "$0.0001",
]


@pytest.mark.parametrize("width", WIDTHS)
def test_no_value_is_broken_in_a_narrow_terminal(screen: io.StringIO, width: int):
    console.out.width = width
    console.out.print(tables.table(COLUMNS, [ROW]))
    shown = screen.getvalue()
    assert max(map(cell_len, shown.splitlines())) <= width
    for value in ("unhealthy", "12", "0.91 ± 0.10"):
        assert value in shown, shown


@pytest.mark.parametrize("width", WIDTHS)
def test_id_stays_whole(screen: io.StringIO, width: int):
    console.out.width = width
    wanted = "01a22a3f-755a-759b-883c-6064ca7741f8"
    rows = [[output.state("succeeded"), "a prompt of several words " * 3, "ExecutionAgent", "m" * 60, "3 min", wanted]]
    console.out.print(tables.table(["state", "prompt", "agent?", "model?", "age#?", "id"], rows))
    assert width < 40 or wanted in screen.getvalue()


def test_columns_left_out_are_named(screen: io.StringIO):
    console.out.width = 60
    console.out.print(tables.table(COLUMNS, [ROW]))
    assert "not shown in 60 columns" in screen.getvalue()


@given(
    st.lists(st.lists(st.text(max_size=40), min_size=3, max_size=3), max_size=4),
    st.integers(min_value=12, max_value=200),
)
def test_any_table_fits_any_terminal(rows: list[list[str]], width: int):
    shown = console.PlainConsole()
    shown.file = kept = io.StringIO()
    shown.width = console.out.width = width
    shown.print(tables.table(["name", "words", "n#?"], rows))
    assert all(cell_len(line) <= width for line in re.split("\n", kept.getvalue()))
