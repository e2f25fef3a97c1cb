"""`kairos fine-tune` and `kairos training`: start, follow, list and cancel training runs."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from kairos.cli import output
from kairos.cli.client import Client
from kairos.cli.context import Context, Json, context_of
from kairos.cli.projects import find
from kairos.cli.training_plan import NOT_DONE, show_plan
from kairos.errors import InvalidInput

POLL_S = 1.0
ENDED = ("done", "failed", "cancelled")

Project = Annotated[str | None, typer.Option(help="Name or id; by default the active project.")]
RunId = Annotated[str, typer.Argument(help="Id of a run.", metavar="RUN")]

training = typer.Typer(help="Training runs.", no_args_is_help=True)


def client_in(context: Context, project: str | None) -> Client:
    """A client for the given project, or for the active one."""
    client = context.client()
    return client.in_project(find(client, project)["id"]) if project else client


def fine_tune(
    context: typer.Context,
    project: Project = None,
    model: Annotated[
        str | None, typer.Option(help="Name of the base model; by default the first that can be trained.")
    ] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the examples.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Highest learning rate.")] = None,
    rank: Annotated[int | None, typer.Option(help="Rank of the adapter's matrices.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of order and initialisation.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the resources needed, and a review of the samples; start nothing.")
    ] = False,
    check_base: Annotated[
        bool,
        typer.Option("--check-base", help="With --dry-run: ask the base model some of the samples, for up to 25 s."),
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Follow the run to its end.")] = False,
    json: Json = False,
) -> None:
    """Train an adapter on the approved samples. The gate evaluates it, and a better adapter is deployed."""
    client = client_in(context_of(context), project)
    body: dict[str, Any] = {"base": model}
    if check_base and not dry_run:
        raise InvalidInput(where="--check-base", problem="it is only for a dry run", remedy="Add --dry-run")
    if dry_run:
        plan = client.post("/api/training/plan", body)
        return show_plan(plan, client.post("/api/training/base-check", body) if check_base else None, json)
    given = {"epochs": epochs, "learning_rate": learning_rate, "rank": rank, "seed": seed}
    run = client.post("/api/training", body | {name: value for name, value in given.items() if value is not None})
    if watch:
        return _follow(client, run["id"], json)
    if json:
        return output.show_json(run)
    output.out.print(f"run {run['id']}: {output.plain(run['base'])} on {run['rows']} samples")
    output.err.print(f"follow it: kairos training watch {run['id']}", style="dim")


SHORTFALLS = {"forgot": "lost general ability", "learned_too_little": "learned too little", None: "good enough"}


@training.command("list")
def list_runs(context: typer.Context, project: Project = None, json: Json = False) -> None:
    """List the runs, newest first."""
    items = client_in(context_of(context), project).get("/api/training")["items"]
    if json:
        return output.show_json(items)
    rows = [
        [
            output.state(run["state"]),
            output.plain(run["base"]),
            str(run["rows"]),
            output.age(run["created_at"]),
            output.plain(output.one_line(run["error"] or "", 50)),
            run["id"],
        ]
        for run in items
    ]
    output.out.print(output.table(["state", "base", "samples#?", "age#?", "", "id"], rows))


@training.command()
def watch(context: typer.Context, run: RunId, project: Project = None, json: Json = False) -> None:
    """Follow a run to its end."""
    _follow(client_in(context_of(context), project), run, json)


@training.command()
def cancel(context: typer.Context, run: RunId, project: Project = None) -> None:
    """Cancel a run. It produces no adapter."""
    client_in(context_of(context), project).post(f"/api/training/{run}/cancel")
    output.out.print(f"run {output.plain(run)} stops after its current step")


def _follow(client: Client, run_id: str, json: bool) -> None:
    """Show a progress bar on standard error until the run has ended; then show its result."""
    bar = Progress(
        TextColumn("{task.description}", markup=False), BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TextColumn("{task.fields[details]}", style="dim", markup=False), console=output.err, transient=True,
    )  # fmt: skip
    with bar:
        shown = bar.add_task("waiting", total=1, details="")
        while (run := client.get(f"/api/training/{run_id}"))["state"] not in ENDED:
            _draw(bar, shown, run)
            time.sleep(POLL_S)
    adapter = client.get(f"/api/adapters/{run['adapter_id']}") if run["adapter_id"] else None
    if json:
        output.show_json({"run": run, "adapter": adapter})
    else:
        _show_tries(run["tries"])
    if adapter and not json:
        output.out.print(output.state(adapter["state"]), output.plain(f"{adapter['name']}: {adapter['reason']}"))
    if run["state"] != "done":
        output.err.print(f"the run is {run['state']}: {output.plain(run['error'] or 'it produced no adapter')}")
        raise typer.Exit(NOT_DONE)


def _show_tries(tries: list[dict[str, Any]]) -> None:
    rows = [
        [
            str(one["number"]),
            f"{one['epochs']:g}, {one['learning_rate']:g}, rank {one['rank']}, {one['replay_share']:.0%} replayed",
            _share(one["chosen"]["learned"]),
            _share(one["chosen"]["kept"], "+"),
            f"{one['seconds']:.0f} s",
            SHORTFALLS.get(one["shortfall"], "") if one["ruling"] is None else f"gate: {one['reason']}",
        ]
        for one in tries
    ]
    if rows:
        output.out.print(output.table(["try#", "epochs, rate", "learned#", "general#", "time#", "result"], rows))


def _share(value: float | None, sign: str = "") -> str:
    return "–" if value is None else f"{value:{sign}.0%}"


def _draw(bar: Progress, shown: TaskID, run: dict[str, Any]) -> None:
    progress = run["progress"]
    details = []
    if progress["loss"] is not None:
        details.append(f"loss {progress['loss']:.3f}")
    if progress["tokens_per_s"]:
        details.append(f"{progress['tokens_per_s']:.0f} tokens/s")
    if progress["left_s"] is not None:
        details.append(f"{progress['left_s']:.0f} s left")
    name = output.plain(progress["phase"] or run["state"])
    total = progress["steps"] or 1
    bar.update(shown, description=name, total=total, completed=progress["step"] or 0, details=", ".join(details))
