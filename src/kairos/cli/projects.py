"""`kairos project`: list, create, use, rename, archive, restore, export, delete."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from kairos.cli import output
from kairos.cli.client import Client
from kairos.cli.context import Json, of
from kairos.errors import InvalidInput, NotFound

app = typer.Typer(help="The projects you are a member of.", no_args_is_help=True)

Which = Annotated[str, typer.Argument(help="Name or id.", metavar="PROJECT")]


@app.command("list")
def list_projects(context: typer.Context, json: Json = False) -> None:
    """List your projects; the active one is marked."""
    client = of(context).client()
    items = client.get("/api/projects")["items"]
    if json:
        return output.show_json(items)
    rows = [
        [
            "→" if project["active"] else "",
            output.plain(project["name"]),
            project["role"],
            "archived" if project["archived_at"] else "",
            project["id"],
        ]
        for project in items
    ]
    output.out.print(output.table(["", "name", "role", "", "id"], rows))


@app.command()
def create(
    context: typer.Context,
    name: str,
    use: Annotated[bool, typer.Option(help="Make it the active project.")] = True,
    json: Json = False,
) -> None:
    """Create a project. You become its owner."""
    client = of(context).client()
    project = client.post("/api/projects", {"name": name})
    if use:
        client.switch(project["id"])
    if json:
        return output.show_json(project)
    active = ", now active" if use else ""
    output.out.print(output.line("created ", output.bold(project["name"]), f" {project['id']}{active}"))


@app.command("use")
def use_project(context: typer.Context, project: Which) -> None:
    """Make a project the active one: later commands act in it."""
    client = of(context).client()
    found = find(client, project)
    client.switch(found["id"])
    output.out.print(output.line("active project: ", output.bold(found["name"])))


@app.command()
def rename(context: typer.Context, project: Which, name: str, json: Json = False) -> None:
    """Give a project another name."""
    client = of(context).client()
    found = find(client, project)
    changed = client.call("PATCH", f"/api/projects/{found['id']}", {"name": name})
    _say(changed, output.line("renamed to ", output.bold(changed["name"])), json)


@app.command()
def archive(context: typer.Context, project: Which, json: Json = False) -> None:
    """Take no more tasks: what runs ends, what is queued waits until the project is restored."""
    client = of(context).client()
    changed = client.post(f"/api/projects/{find(client, project)['id']}/archive")
    _say(changed, output.line("archived ", output.bold(changed["name"])), json)


@app.command()
def restore(context: typer.Context, project: Which, json: Json = False) -> None:
    """Take tasks again, and go on with those that waited."""
    client = of(context).client()
    changed = client.post(f"/api/projects/{find(client, project)['id']}/restore")
    _say(changed, output.line("restored ", output.bold(changed["name"])), json)


@app.command()
def export(
    context: typer.Context,
    project: Which,
    to: Annotated[Path | None, typer.Option("--output", "-o", help="The file; else one named after the id.")] = None,
    json: Json = False,
) -> None:
    """Write everything a project holds to a .tar.gz: a manifest, and JSON lines for each table."""
    client = of(context).client()
    found = find(client, project)
    target = to or Path(f"kairos-{found['id']}.tar.gz")
    size = client.download(f"/api/projects/{found['id']}/export", target)
    _say({"file": str(target), "bytes": size}, f"wrote {output.plain(str(target))} ({size} bytes)", json)


@app.command()
def delete(
    context: typer.Context,
    project: Which,
    confirm: Annotated[str | None, typer.Option(help="The project's name, instead of the question.")] = None,
) -> None:
    """Delete a project with everything it holds, for everybody and for good."""
    client = of(context).client()
    found = find(client, project)
    if confirm is None:
        confirm = typer.prompt(f"Everything in {found['name']!r} will be erased. Type its name to go on", err=True)
    if confirm != found["name"]:
        raise InvalidInput(where="--confirm", problem="it is not the project's name", remedy="Nothing was deleted")
    client.delete(f"/api/projects/{found['id']}", confirm=confirm)
    output.out.print(output.line("deleted ", output.bold(found["name"]), "; what it held is being erased"))


def find(client: Client, wanted: str) -> dict[str, Any]:
    """By id or by name. Raises `NotFound`, and `InvalidInput` where two have the name."""
    items = client.get("/api/projects")["items"]
    found = [project for project in items if project["id"] == wanted] or [p for p in items if p["name"] == wanted]
    if not found:
        raise NotFound(what="project", id=wanted)
    if len(found) > 1:
        ids = ", ".join(project["id"] for project in found)
        raise InvalidInput(where="PROJECT", problem=f"{len(found)} are named {wanted!r}", remedy=f"Use an id: {ids}")
    return found[0]


def _say(value: dict[str, Any], words: str | Text, json: bool) -> None:
    if json:
        return output.show_json(value)
    output.out.print(words)
