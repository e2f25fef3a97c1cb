"""`kairos dataset`: list, stats, import, export: the rows that a project's models are to learn from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from kairos.cli import dataset_upload, output
from kairos.cli.context import Json, of
from kairos.errors import InvalidInput

app = typer.Typer(help="What went wrong, and what would have been right.", no_args_is_help=True)

MOST_SHOWN = 20
"""Refused rows that are printed."""


@app.command("list")
def list_rows(
    context: typer.Context,
    state: Annotated[str | None, typer.Option(help="open, corrected, approved, rejected or held_out.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200)] = 20,
    json: Json = False,
) -> None:
    """The newest rows."""
    items = of(context).client().get("/api/dataset", state=state, limit=limit)["items"]
    if json:
        return output.show_json(items)
    rows = [
        [
            row["state"],
            output.plain(row["task_type"] or ""),
            output.plain(output.one_line(row["faulty_output"] or "(no output)", 40)),
            output.plain(output.one_line(row["reason"], 40)),
            str(row["seen"]),
            "secrets?" if row["secrets"] and not row["cleared"] else "",
            row["id"],
        ]
        for row in items
    ]
    output.out.print(output.table(["state", "type", "faulty output", "reason", "seen", "", "id"], rows))


@app.command()
def stats(context: typer.Context, json: Json = False) -> None:
    """How many rows stand where."""
    found = of(context).client().get("/api/dataset/stats")
    if json:
        return output.show_json(found)
    output.out.print(output.table(["state", "rows"], [[name, str(count)] for name, count in found["states"].items()]))
    output.out.print(f"known faults that came again: {found['joined']}")
    if found["waiting_for_clearing"]:
        output.out.print(f"kept out until a person clears them: {found['waiting_for_clearing']} that may hold secrets")


@app.command("import")
def import_rows(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            help="JSON lines or a JSON array: OpenAI chat, preference pairs, Alpaca, ShareGPT, prompt and completion."
        ),
    ],
    approve: Annotated[bool, typer.Option(help="As approved: trained on without a further look.")] = False,
    json: Json = False,
) -> None:
    """Import rows in parts. Every answer of a prompt is kept, rows that were exported are updated, and each refused row
    is named with its line and reason (exit code 2). After an interruption run the same command again."""
    done = dataset_upload.send(of(context).client(), file, approve=approve)
    if json:
        output.show_json(done)
    else:
        output.out.print(", ".join(f"{done[name]} {name}" for name in dataset_upload.COUNTS))
        _show_refusals(done)
    if done["refused"]:
        raise typer.Exit(InvalidInput.exit_code)


def _show_refusals(done: dict[str, Any]) -> None:
    shown = done["refusals"][:MOST_SHOWN]
    for one in shown:
        output.err.print(output.plain(f"line {one['line']}: {one['reason']}"), soft_wrap=True)
    if more := done["refused"] - len(shown):
        output.err.print(f"and {more} more refused; --json shows more of them")


@app.command()
def export(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="Where to write.")],
    state: Annotated[str, typer.Option(help="Which rows.")] = "approved",
) -> None:
    """Write the rows with a right answer as JSON lines; those that seem to hold secrets are left out."""
    size = of(context).client().download(f"/api/dataset/export?state={state}", file)
    output.out.print(f"{output.plain(str(file))}: {size} bytes")
