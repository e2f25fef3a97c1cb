"""`kairos adapter`: list, show, promote, refuse, roll-back, delete, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from kairos.cli import output
from kairos.cli.client import Client
from kairos.cli.context import Json, context_of
from kairos.cli.fine_tuning import Project, client_in
from kairos.errors import NotFound

app = typer.Typer(help="Trained adapters and their deployment.", no_args_is_help=True)

CONTEXTS = {"system_prompt": "with the system prompt", "alone": "without it"}
"""What surrounds the control prompts."""

Which = Annotated[str, typer.Argument(help="Id, or name as shown by `kairos adapter list`.", metavar="ADAPTER")]


@app.command("list")
def list_adapters(context: typer.Context, project: Project = None, json: Json = False) -> None:
    """List the adapters of the project, by base model."""
    items = client_in(context_of(context), project).get("/api/adapters")["items"]
    if json:
        return output.show_json(items)
    rows = [
        [
            output.plain(one["name"]),
            output.state(one["state"]),
            f"{one['share']:.0%}" if one["share"] else "",
            output.plain(one["serving"]["problem"] or one["reason"] or ""),
            output.age(one["changed_at"]),
            one["id"],
        ]
        for one in items
    ]
    output.out.print(output.table(["name", "state", "share#?", "why?", "for?", "id"], rows))


@app.command()
def show(context: typer.Context, adapter: Which, project: Project = None, json: Json = False) -> None:
    """Show an adapter with the gate's report, pair by pair."""
    client = client_in(context_of(context), project)
    found = client.get(f"/api/adapters/{_find(client, adapter)['id']}")
    if json:
        return output.show_json(found)
    output.out.print(output.state(found["state"]), output.plain(f"{found['name']}: {found['reason'] or ''}"))
    trained = sum(row["part"] == "training" for row in found["rows"])
    erased = sum(row["erased"] for row in found["rows"])
    output.out.print(f"trained on {trained} samples, {len(found['rows']) - trained} held out, {erased} erased later")
    if found["report"]:
        _show_report(found["report"])


@app.command()
def promote(context: typer.Context, adapter: Which, project: Project = None) -> None:
    """Promote an adapter: to canary if it needs approval, otherwise to all requests."""
    client = client_in(context_of(context), project)
    _show_state(client.post(f"/api/adapters/{_find(client, adapter)['id']}/promote"))


@app.command()
def refuse(context: typer.Context, adapter: Which, project: Project = None) -> None:
    """Refuse an adapter that needs approval."""
    client = client_in(context_of(context), project)
    _show_state(client.post(f"/api/adapters/{_find(client, adapter)['id']}/refuse"))


@app.command("roll-back")
def roll_back(
    context: typer.Context,
    base: Annotated[str, typer.Argument(help="Name of the base model.")],
    project: Project = None,
) -> None:
    """Retire the base model's current deployment and restore the previous one."""
    _show_state(client_in(context_of(context), project).post("/api/adapters/roll-back", {"base": base}))


@app.command()
def delete(context: typer.Context, adapter: Which, project: Project = None) -> None:
    """Delete an adapter's files; its metadata is kept."""
    client = client_in(context_of(context), project)
    _show_state(client.call("DELETE", f"/api/adapters/{_find(client, adapter)['id']}"))


@app.command()
def export(
    context: typer.Context,
    adapter: Which,
    to: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file; by default named after the adapter.")
    ] = None,
    project: Project = None,
) -> None:
    """Write an adapter to a GGUF file for llama.cpp and Ollama."""
    client = client_in(context_of(context), project)
    found = _find(client, adapter)
    target = to or Path(f"{found['name'].replace('/', '-')}.gguf")
    size = client.download(f"/api/adapters/{found['id']}/gguf", target)
    output.out.print(f"wrote {output.plain(str(target))} ({size} bytes)")


def _find(client: Client, wanted: str) -> dict[str, Any]:
    """The adapter with this id or name. Raises `NotFound`."""
    for one in client.get("/api/adapters")["items"]:
        if wanted in (one["id"], one["name"]):
            return one
    raise NotFound(what="adapter", id=wanted)


def _show_report(report: dict[str, Any]) -> None:
    rows = []
    for name, title in (("held_out", "held-out samples"), ("control", "control prompts")):
        found = report[name]
        interval = "" if found["low"] is None else f"{found['low']:+.0%} … {found['high']:+.0%}"
        number = str(found["prompts"] or len(found["pairs"]))
        rows.append([title, number, _share(found["base"]), _share(found["candidate"]), interval])
    for found in report["contexts"]:
        title = CONTEXTS.get(found["context"], found["context"])
        rows.append([f"  {title}", "", _share(found["base"]), _share(found["candidate"]), ""])
    output.out.print(output.table(["", "prompts#", "base#", "adapter#", "difference, 95 %"], rows))
    for pair in report["held_out"]["pairs"]:
        better = pair["candidate_quality"] > pair["base_quality"]
        sign = ("↑", "green") if better else ("↓", "red")
        symbol = ("=", "") if pair["candidate_quality"] == pair["base_quality"] else sign
        prompt, base, candidate = (
            output.plain(output.one_line(pair[key], 60)) for key in ("prompt", "base", "candidate")
        )
        text = f" {prompt}\n    base     {base}\n    adapter  {candidate}"
        output.out.print(output.line(symbol, text), soft_wrap=True)


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"


def _show_state(adapter: dict[str, Any]) -> None:
    output.out.print(output.state(adapter["state"]), output.plain(f"{adapter['name']}: {adapter['reason']}"))
