"""`kairos dataset`: list, stats, import and export samples."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from kairos.cli import dataset_upload, output
from kairos.cli.context import Json, context_of
from kairos.errors import InvalidInput

app = typer.Typer(help="Corrections and other samples for fine-tuning.", no_args_is_help=True)

MOST_SHOWN = 20
"""Refused samples that are printed at most."""


@app.command("list")
def list_rows(
    context: typer.Context,
    state: Annotated[str | None, typer.Option(help="open, corrected, approved, rejected or held_out.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200)] = 20,
    json: Json = False,
) -> None:
    """List the newest samples."""
    items = context_of(context).client().get("/api/dataset", state=state, limit=limit)["items"]
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
    """Show the number of samples by state."""
    found = context_of(context).client().get("/api/dataset/stats")
    if json:
        return output.show_json(found)
    output.out.print(
        output.table(["state", "samples"], [[name, str(count)] for name, count in found["states"].items()])
    )
    output.out.print(f"repeated faults: {found['joined']}")
    if found["waiting_for_clearing"]:
        output.out.print(f"excluded until reviewed: {found['waiting_for_clearing']} with possible secrets")


@app.command("import")
def import_rows(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            help="JSON lines or a JSON array: OpenAI chat, preference pairs, Alpaca, ShareGPT, prompt and completion."
        ),
    ],
    approve: Annotated[bool, typer.Option(help="Import as approved: used for training without review.")] = False,
    json: Json = False,
) -> None:
    """Import samples from a file. Every answer of a prompt is a sample, and exported samples are updated.

    Refused samples are listed with line and reason (exit code 2). After an interruption, run the same command again.
    """
    done = dataset_upload.send(context_of(context).client(), file, approve=approve)
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
        output.err.print(f"and {more} more refused; use --json to see more")


@app.command()
def export(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The file to write.")],
    state: Annotated[str, typer.Option(help="The state of the samples.")] = "approved",
) -> None:
    """Write samples with a correct answer as JSON lines, without those that contain possible secrets."""
    size = context_of(context).client().download(f"/api/dataset/export?state={state}", file)
    output.out.print(f"{output.plain(str(file))}: {size} bytes")
