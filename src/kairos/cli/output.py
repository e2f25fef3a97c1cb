"""Format results: tables and text for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from kairos import printable
from kairos.cli.console import err, out
from kairos.cli.tables import table

__all__ = ["err", "out", "table"]

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
    """Print a JSON document on standard output, with control characters as JSON escapes."""
    document = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    sys.stdout.write(printable.json_text(document) + "\n")


def show_text(text: str) -> None:
    """Print a text of several lines on standard output, without styles or folding."""
    sys.stdout.write(printable.lines(text) + "\n")


def bold(text: str) -> tuple[str, str]:
    """A part of a `line` in bold."""
    return (plain(text), "bold")


def line(*parts: str | tuple[str, str] | Text) -> Text:
    """One line of several parts, each a text with or without a style."""
    return Text.assemble(*parts)


def state(name: str) -> Text:
    """A state with a symbol, so that it is recognisable without colour."""
    sign, colour = STATES.get(name, ("·", ""))
    return Text(f"{sign} {plain(name)}", style=colour)


def age(moment: str | None) -> str:
    """The time since an ISO time, such as `5 min`."""
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
    """An untrusted text on one line, with control characters escaped."""
    return printable.one_line(text)


def prose(text: str, style: str = "") -> Text:
    """An untrusted text of several lines, with control characters escaped."""
    return Text(printable.lines(text), style=style)


def task_detail(task: Mapping[str, Any]) -> RenderableType:
    """A task with its decisions, verdicts and answer."""
    parts: list[RenderableType] = [_head(task)]
    for decision in task["decisions"]:
        parts.append(decision_table(decision))
    for verdict in task["verdicts"]:
        parts.append(_verdict(verdict))
    if task["error"]:
        parts.append(prose(f"{task['error']['code']}: {task['error']['message']}", "red"))
    if task["output"] is not None:
        parts.append(Panel(prose(task["output"]), title="Answer", title_align="left", border_style="dim"))
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
        (
            f"{plain(task['agent'])}, attempt {task['attempts']} of {task['max_attempts']}, {number(took, ' s', 1)}",
            "dim",
        ),
    )
    return Group(line, prose(one_line(task["prompt"], 200), "italic"))


def decision_table(decision: Mapping[str, Any]) -> RenderableType:
    """A routing decision: all candidates with the terms of their scores."""
    answered = decision["answered"]
    title = f"Model: {plain(decision['chosen'] or 'none')} ({decision['kind']})"
    if answered and answered != decision["chosen"]:
        title += f", answered by {plain(answered)}"
    quality = "unmeasured" if decision["quality"] is None else f"{decision['quality']:.2f}"
    rows = [
        [
            Text(plain(score["model"]), style="bold" if score["model"] == decision["chosen"] else ""),
            number(score["utility"], digits=3),
            number(score["mu"]),
            number(score["bonus"]),
            number(score["cost"]),
            number(score["latency"]),
            number(score["n"], digits=1),
        ]
        for score in decision["candidates"]
    ]
    columns = ["candidate", "utility#", "quality#", "bonus#?", "cost#?", "latency#?", "measured#?"]
    parts: list[RenderableType] = [
        Text.assemble((title, "bold"), (f"  task type {plain(decision['task_type'])}, quality {quality}", "dim")),
        table(columns, rows),
    ]
    parts += [
        prose(f"excluded: {out_['model']} ({out_.get('detail') or out_['reason']})", "dim")
        for out_ in decision["excluded"]
    ]
    parts += [
        prose(f"call failed: {call['model']} ({call['error']}, {number(call['duration_s'], ' s', 1)})", "yellow")
        for call in decision["calls"]
        if not call["success"]
    ]
    return Group(*parts)


def _verdict(verdict: Mapping[str, Any]) -> RenderableType:
    label = ("approved", "green") if verdict["approved"] else ("rejected", "yellow")
    score = "quality unmeasured" if verdict["score"] is None else f"score {verdict['score']:.2f}"
    checks = plain(", ".join(verdict["checks"])) or "none"
    lines: list[RenderableType] = [
        Text.assemble(("Guardian: ", "bold"), label, (f"  draft {verdict['draft']}, {score}, checks: {checks}", "dim"))
    ]
    for finding in verdict["findings"]:
        where = f" (line {finding['line']})" if finding.get("line") else ""
        lines.append(prose(f"  {finding['severity']}: {finding['message']}{where}"))
    return Group(*lines)
