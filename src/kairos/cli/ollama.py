"""`kairos provider pull`, `installed` and `uninstall`: the models on the disk of an Ollama server."""

from __future__ import annotations

import time
import urllib.parse
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn

from kairos.cli import output
from kairos.cli.client import Client
from kairos.cli.context import Json, context_of
from kairos.cli.providers import Own, Which, path_of, provider_of
from kairos.errors import NotFound

POLL_S = 0.5
FAILED = 1

ModelName = Annotated[str, typer.Argument(help="As in `ollama pull`: llama3.2 or llama3.2:3b.", metavar="MODEL")]


def add_to(app: typer.Typer) -> None:
    """Add the commands to those of `kairos provider`."""
    app.command()(pull)
    app.command()(installed)
    app.command()(uninstall)


def pull(
    context: typer.Context,
    provider: Which,
    model: ModelName,
    insecure: Annotated[bool, typer.Option("--insecure", help="Accept a registry without TLS.")] = False,
    own: Own = False,
    json: Json = False,
) -> None:
    """Let an Ollama server download a model, and wait for it. Ctrl-C cancels; the next pull continues there."""
    client = context_of(context).client()
    path = f"{path_of(provider_of(client, provider, own), own)}/ollama/pulls"
    started = client.post(path, {"model": model, "insecure": insecure})
    try:
        ended = _follow(client, path, started)
    except KeyboardInterrupt:
        client.post(f"{path}/{started['id']}/cancel")
        output.err.print("cancelled; repeat the command to continue where it stopped")
        raise typer.Exit(FAILED) from None
    if json:
        output.show_json(ended)
    elif ended["state"] == "succeeded":
        size = "" if ended["total"] is None else f" ({_size(ended['total'])})"
        output.out.print(output.line("pulled ", output.bold(ended["model"]), size))
        output.err.print(f"next: kairos model add {provider!r} {ended['model']}", style="dim")
    if ended["state"] != "succeeded":
        problem = ended["problem"]
        reason = f"{problem['cause']}. {problem['remedy']}." if problem else ""
        output.err.print(output.line((f"{ended['state']}: ", "red"), output.plain(reason)), soft_wrap=True)
        raise typer.Exit(FAILED)


def installed(context: typer.Context, provider: Which, own: Own = False, json: Json = False) -> None:
    """List the models on an Ollama server's disk, which of them are loaded, and the running pulls."""
    client = context_of(context).client()
    path = f"{path_of(provider_of(client, provider, own), own)}/ollama"
    listed, pulls = client.get(f"{path}/models"), client.get(f"{path}/pulls")["items"]
    if json:
        output.show_json({**listed, "pulls": pulls})
    elif listed["ok"]:
        _show(listed, pulls)
    else:
        problem = listed["problem"]
        output.err.print(output.line((f"{problem['kind']}: ", "red"), f"{problem['cause']}. {problem['remedy']}."))
    if not listed["ok"]:
        raise typer.Exit(3)


def uninstall(context: typer.Context, provider: Which, model: ModelName, own: Own = False) -> None:
    """Delete a model from an Ollama server's disk. Refused while the catalogue has it: see `kairos model remove`."""
    client = context_of(context).client()
    path = path_of(provider_of(client, provider, own), own)
    client.call("DELETE", f"{path}/ollama/models/{urllib.parse.quote(model)}")
    output.out.print(output.line("uninstalled ", output.bold(model)))


def _follow(client: Client, path: str, started: dict[str, Any]) -> dict[str, Any]:
    """Show a progress bar on standard error until the pull has ended."""
    bar = Progress(
        TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(binary_units=True),
        console=output.err, transient=True, disable=not output.err.is_terminal,
    )  # fmt: skip
    with bar:
        shown = bar.add_task("starting", total=None)
        while (pull := _of_id(client, path, started["id"]))["state"] == "running":
            _draw(bar, shown, pull)
            time.sleep(POLL_S)
    return pull


def _of_id(client: Client, path: str, pull_id: str) -> dict[str, Any]:
    found = next((item for item in client.get(path)["items"] if item["id"] == pull_id), None)
    if found is None:
        raise NotFound(what="pull", id=pull_id)
    return found


def _draw(bar: Progress, shown: TaskID, pull: dict[str, Any]) -> None:
    bar.update(shown, description=pull["phase"], total=pull["total"], completed=pull["completed"] or 0)


def _show(listed: dict[str, Any], pulls: list[dict[str, Any]]) -> None:
    loaded = {item["name"]: item for item in listed["loaded"]}
    rows = [
        [
            output.plain(item["name"]),
            _size(item["size"]),
            output.plain(item["parameters"] or "unknown"),
            output.plain(item["quantization"] or "unknown"),
            "unknown" if item["context"] is None else str(item["context"]),
            "unknown" if item["capabilities"] is None else output.plain(", ".join(item["capabilities"])),
            _loaded(loaded.get(item["name"])),
            output.plain(", ".join(item["added"])),
        ]
        for item in listed["installed"]
    ]
    columns = ["model", "size#", "parameters?", "quantization?", "context#?", "can?", "loaded", "added as?"]
    output.out.print(output.table(columns, rows))
    for item in listed["not_installed"]:
        text = f"{item['name']} is in the catalogue, but {item['upstream']} is not on the server: pull it, or remove it"
        output.err.print(output.line(("! ", "yellow"), output.plain(text)), soft_wrap=True)
    for item in (pull for pull in pulls if pull["state"] == "running"):
        share = "" if not item["total"] else f", {_size(item['completed'])} of {_size(item['total'])}"
        output.err.print(output.plain(f"pulling {item['model']}: {item['phase']}{share}"))


def _loaded(item: dict[str, Any] | None) -> str:
    if item is None:
        return "–"
    until = "" if item["until"] is None else f" until {datetime.fromisoformat(item['until']).astimezone():%H:%M}"
    return f"{_size(item['memory'])}{until}"


def _size(size: int | None) -> str:
    """A size with a binary unit."""
    if size is None:
        return "unknown"
    value, units = float(size), ["B", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:
        value, units = value / 1024, units[1:]
    return f"{value:.0f} {units[0]}" if value >= 100 or units[0] == "B" else f"{value:.1f} {units[0]}"
