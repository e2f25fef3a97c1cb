"""How results look: tables and words for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

STATES = {
    "queued": ("◌", "cyan"),
    "running": ("●", "blue"),
    "succeeded": ("✓", "green"),
    "rejected": ("✗", "yellow"),
    "failed": ("!", "red"),
    "dead": ("†", "red"),
    "cancelled": ("⊘", "dim"),
    "waiting": ("◌", "cyan"),
    "training": ("●", "blue"),
    "evaluating": ("●", "blue"),
    "done": ("✓", "green"),
    "candidate": ("◌", "cyan"),
    "needs_approval": ("?", "yellow"),
    "canary": ("●", "blue"),
    "live": ("✓", "green"),
    "retired": ("⊘", "dim"),
    "refused": ("✗", "yellow"),
    "deleted": ("⊘", "dim"),
    "loaded": ("✓", "green"),
    "set_aside": ("~", "yellow"),
    "disabled": ("⊘", "dim"),
    "ok": ("✓", "green"),
    "degraded": ("~", "yellow"),
    "away": ("✗", "red"),
    "unavailable": ("✗", "red"),
    "healthy": ("✓", "green"),
    "unhealthy": ("✗", "red"),
}


def show_json(value: Any) -> None:
    """One JSON document on standard output."""
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False, default=str)
    sys.stdout.write("\n")


def state(name: str) -> Text:
    """A state with a sign, so that it can be told without colour."""
    sign, colour = STATES.get(name, ("·", ""))
    return Text(f"{sign} {name}", style=colour)


def table(columns: Sequence[str], rows: Iterable[Sequence[RenderableType]]) -> Table:
    shown = Table(box=None, pad_edge=False, header_style="dim")
    for place, name in enumerate(columns):
        # What one copies, the first column or the id, is the last to be broken.
        justify = "right" if name.endswith("#") else "left"
        shown.add_column(name, justify=justify, overflow="fold", no_wrap=place == 0 or name == "id")
    for row in rows:
        shown.add_row(*row)
    for column in shown.columns:
        column.header = str(column.header).rstrip("#")
    return shown


def age(moment: str | None) -> str:
    """How long ago an ISO time was."""
    if not moment:
        return "–"
    seconds = (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {name}"
    return f"{max(seconds, 0):.0f} s"


def number(value: float | None, unit: str = "", digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}{unit}"


def one_line(text: str, most: int = 60) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def plain(text: str) -> str:
    """Text from outside, safe between rich's square brackets."""
    return escape(text)


def task_detail(task: Mapping[str, Any]) -> RenderableType:
    """A task with its decision, verdict and answer, in the order in which a person asks for them."""
    parts: list[RenderableType] = [_head(task)]
    for decision in task["decisions"]:
        parts.append(decision_table(decision))
    for verdict in task["verdicts"]:
        parts.append(_verdict(verdict))
    if task["error"]:
        parts.append(Text(f"{task['error']['code']}: {task['error']['message']}", style="red"))
    if task["output"] is not None:
        parts.append(Panel(Text(task["output"]), title="Answer", title_align="left", border_style="dim"))
    return Group(*parts)


def _head(task: Mapping[str, Any]) -> RenderableType:
    took = None
    if task["started_at"] and task["finished_at"]:
        took = (
            datetime.fromisoformat(task["finished_at"]) - datetime.fromisoformat(task["started_at"])
        ).total_seconds()
    line = Text.assemble(
        state(task["state"]),
        f"  {task['id']}  ",
        (f"{task['agent']}, attempt {task['attempts']} of {task['max_attempts']}, {number(took, ' s', 1)}", "dim"),
    )
    return Group(line, Text(one_line(task["prompt"], 200), style="italic"))


def decision_table(decision: Mapping[str, Any]) -> RenderableType:
    """Why this model: every candidate with the terms of its score."""
    answered = decision["answered"]
    title = f"Model: {decision['chosen'] or 'none'} ({decision['kind']})"
    if answered and answered != decision["chosen"]:
        title += f", answered by {answered}"
    quality = "unmeasured" if decision["quality"] is None else f"{decision['quality']:.2f}"
    rows = [
        [
            Text(score["model"], style="bold" if score["model"] == decision["chosen"] else ""),
            number(score["utility"], digits=3),
            number(score["mu"]),
            number(score["bonus"]),
            number(score["cost"]),
            number(score["latency"]),
            number(score["n"], digits=1),
        ]
        for score in decision["candidates"]
    ]
    columns = ["candidate", "utility#", "quality#", "doubt#", "cost#", "latency#", "seen#"]
    parts: list[RenderableType] = [
        Text.assemble((title, "bold"), (f"  task type {decision['task_type']}, quality {quality}", "dim")),
        table(columns, rows),
    ]
    parts += [
        Text(f"not considered: {out_['model']} ({out_.get('detail') or out_['reason']})", style="dim")
        for out_ in decision["excluded"]
    ]
    parts += [
        Text(f"call failed: {call['model']} ({call['error']}, {number(call['duration_s'], ' s', 1)})", style="yellow")
        for call in decision["calls"]
        if not call["success"]
    ]
    return Group(*parts)


def _verdict(verdict: Mapping[str, Any]) -> RenderableType:
    word = ("approved", "green") if verdict["approved"] else ("rejected", "yellow")
    score = "quality unmeasured" if verdict["score"] is None else f"score {verdict['score']:.2f}"
    checks = ", ".join(verdict["checks"]) or "none"
    lines: list[RenderableType] = [
        Text.assemble(("Guardian: ", "bold"), word, (f"  draft {verdict['draft']}, {score}, checks: {checks}", "dim"))
    ]
    for finding in verdict["findings"]:
        where = f" (line {finding['line']})" if finding.get("line") else ""
        lines.append(Text(f"  {finding['severity']}: {finding['message']}{where}"))
    return Group(*lines)
