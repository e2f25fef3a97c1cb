"""`kairos project`: list, create, use, rename, archive, restore, export, delete."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from kairos.cli import output
from kairos.cli.client import Client
from kairos.cli.context import Json, context_of
from kairos.errors import InvalidInput, NotFound

app = typer.Typer(help="The projects of which you are a member.", no_args_is_help=True)

Which = Annotated[str, typer.Argument(help="Name or id.", metavar="PROJECT")]


@app.command("list")
def list_projects(context: typer.Context, json: Json = False) -> None:
    """List your projects; the active one is marked."""
    client = context_of(context).client()
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
    client = context_of(context).client()
    project = client.post("/api/projects", {"name": name})
    if use:
        client.switch(project["id"])
    if json:
        return output.show_json(project)
    active = ", now active" if use else ""
    output.out.print(output.line("created ", output.bold(project["name"]), f" {project['id']}{active}"))


@app.command("use")
def use_project(context: typer.Context, project: Which) -> None:
    """Make a project the active one for later commands."""
    client = context_of(context).client()
    found = find(client, project)
    client.switch(found["id"])
    output.out.print(output.line("active project: ", output.bold(found["name"])))


@app.command()
def rename(context: typer.Context, project: Which, name: str, json: Json = False) -> None:
    """Rename a project."""
    client = context_of(context).client()
    found = find(client, project)
    changed = client.call("PATCH", f"/api/projects/{found['id']}", {"name": name})
    _show(changed, output.line("renamed to ", output.bold(changed["name"])), json)


@app.command()
def archive(context: typer.Context, project: Which, json: Json = False) -> None:
    """Archive a project: it accepts no tasks; running ones finish, queued ones wait until it is restored."""
    client = context_of(context).client()
    changed = client.post(f"/api/projects/{find(client, project)['id']}/archive")
    _show(changed, output.line("archived ", output.bold(changed["name"])), json)


@app.command()
def restore(context: typer.Context, project: Which, json: Json = False) -> None:
    """Restore an archived project and continue its queued tasks."""
    client = context_of(context).client()
    changed = client.post(f"/api/projects/{find(client, project)['id']}/restore")
    _show(changed, output.line("restored ", output.bold(changed["name"])), json)


@app.command()
def export(
    context: typer.Context,
    project: Which,
    to: Annotated[Path | None, typer.Option("--output", "-o", help="The file; by default named after the id.")] = None,
    json: Json = False,
) -> None:
    """Export all data of a project to a .tar.gz: a manifest, and JSON lines for each table."""
    client = context_of(context).client()
    found = find(client, project)
    target = to or Path(f"kairos-{found['id']}.tar.gz")
    size = client.download(f"/api/projects/{found['id']}/export", target)
    _show({"file": str(target), "bytes": size}, f"wrote {output.plain(str(target))} ({size} bytes)", json)


@app.command()
def delete(
    context: typer.Context,
    project: Which,
    confirm: Annotated[str | None, typer.Option(help="The project's name, to delete without a prompt.")] = None,
) -> None:
    """Delete a project and all its data permanently."""
    client = context_of(context).client()
    found = find(client, project)
    if confirm is None:
        confirm = typer.prompt(f"Everything in {found['name']!r} will be erased. Type its name to continue", err=True)
    if confirm != found["name"]:
        raise InvalidInput(where="--confirm", problem="it is not the project's name", remedy="Nothing was deleted")
    client.delete(f"/api/projects/{found['id']}", confirm=confirm)
    output.out.print(output.line("deleted ", output.bold(found["name"]), "; its data is being erased"))


def find(client: Client, wanted: str) -> dict[str, Any]:
    """The project with this id or name. Raises `NotFound`, and `InvalidInput` if several have the name."""
    items = client.get("/api/projects")["items"]
    found = [project for project in items if project["id"] == wanted] or [p for p in items if p["name"] == wanted]
    if not found:
        raise NotFound(what="project", id=wanted)
    if len(found) > 1:
        ids = ", ".join(project["id"] for project in found)
        raise InvalidInput(where="PROJECT", problem=f"{len(found)} are named {wanted!r}", remedy=f"Use an id: {ids}")
    return found[0]


def _show(value: dict[str, Any], text: str | Text, json: bool) -> None:
    if json:
        return output.show_json(value)
    output.out.print(text)
