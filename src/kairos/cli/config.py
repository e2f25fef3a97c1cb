"""`kairos config`: show, get, set, unset, history, revert, replicas."""

from __future__ import annotations

import json as json_module
from typing import Annotated, Any

import typer

from kairos.cli import output
from kairos.cli.client import Client
from kairos.cli.context import Json, context_of
from kairos.config_reference import nearest
from kairos.errors import InvalidInput

app = typer.Typer(help="Show and change the configuration of the running system.", no_args_is_help=True)

Why = Annotated[str, typer.Option(help="The reason, shown in the history and in the audit log.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only validate, and show what would change.")]
OfProject = Annotated[bool, typer.Option("--project", help="The active project's values instead of the system's.")]

EFFECT = {"live": "", "restart": "at the next start", "file": "kairos.toml only"}


@app.command()
def show(
    context: typer.Context,
    beginning: Annotated[
        str, typer.Argument(help="Only keys with this prefix, such as `router`.", metavar="[KEY]")
    ] = "",
    changed: Annotated[bool, typer.Option("--changed", help="Only values that differ from the default.")] = False,
    json: Json = False,
) -> None:
    """List all values with their sources."""
    found = context_of(context).client().get("/api/config")
    values = [
        value
        for value in found["values"]
        if value["key"].startswith(beginning) and (not changed or value["source"] != "default")
    ]
    if json:
        return output.show_json({**found, "values": values})
    rows = [
        [value["key"], output.plain(_shown(value["value"])), _source(value), EFFECT[value["reach"]]] for value in values
    ]
    output.out.print(output.table(["key", "value", "from", "takes effect?"], rows))
    output.out.print(f"system version {found['version']}, project version {found['project_version']}")
    return None


@app.command()
def get(context: typer.Context, key: str, json: Json = False) -> None:
    """Show a value with its description, type and default."""
    value = _find(context_of(context).client().get("/api/config"), key)
    if json:
        return output.show_json(value)
    shown = f" = {output.plain(_shown(value['value']))}"
    output.out.print(output.line(output.bold(value["key"]), shown), soft_wrap=True)
    output.out.print(output.plain(value["description"]), soft_wrap=True)
    default = f"default {output.plain(_shown(value['default']))}"
    where = f"{output.plain(value['kind'])}; {default}; from {_source(value)}"
    output.out.print(where, style="dim", soft_wrap=True)
    return None


@app.command("set")
def set_values(
    context: typer.Context,
    assignments: Annotated[list[str], typer.Argument(help="One or more KEY=VALUE.", metavar="KEY=VALUE…")],
    why: Why = "",
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Change values while the system runs: all of them, or none if one is refused."""
    client = context_of(context).client()
    known = client.get("/api/config")
    changes: dict[str, Any] = {}
    for assignment in assignments:
        key, sign, text = assignment.partition("=")
        if not sign:
            raise InvalidInput(where=assignment, problem="it is not KEY=VALUE", remedy="Write: queue.max_attempts=5")
        changes[key] = _value(text, _find(known, key)["kind"])
    _change(client, known, changes, why, dry_run, json)


@app.command()
def unset(
    context: typer.Context,
    keys: Annotated[list[str], typer.Argument(metavar="KEY…")],
    why: Why = "",
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Reset values to those of file, environment and defaults."""
    client = context_of(context).client()
    known = client.get("/api/config")
    _change(client, known, {_find(known, key)["key"]: None for key in keys}, why, dry_run, json)


@app.command()
def history(
    context: typer.Context,
    of_project: OfProject = False,
    limit: Annotated[int, typer.Option(min=1, max=100)] = 20,
    json: Json = False,
) -> None:
    """List the changes with author, time and reason, newest first."""
    whose = "project" if of_project else "system"
    items = context_of(context).client().get("/api/config/history", whose=whose, limit=limit)["items"]
    if json:
        return output.show_json(items)
    rows = [
        [
            str(version["version"]),
            output.age(version["at"]),
            output.plain(version["by"] or "–"),
            "\n".join(map(output.plain, _differences(version["changes"]))) or "–",
            output.plain(version["why"]),
        ]
        for version in items
    ]
    output.out.print(output.table(["version", "when", "who", "what", "why"], rows))
    return None


@app.command()
def revert(
    context: typer.Context,
    to: Annotated[int, typer.Argument(help="The version whose values are restored; 0 is the state before any change.")],
    of_project: OfProject = False,
    why: Why = "",
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Restore the values of an old version."""
    client = context_of(context).client()
    known = client.get("/api/config")
    whose, version = ("project", known["project_version"]) if of_project else ("system", known["version"])
    body = {"whose": whose, "to": to, "why": why, "version": version, "dry_run": dry_run}
    _show_changes(client.post("/api/config/revert", body), dry_run, json)


@app.command()
def replicas(context: typer.Context, json: Json = False) -> None:
    """Show the configuration version that each daemon runs."""
    found = context_of(context).client().get("/api/daemons")
    if json:
        return output.show_json(found)
    rows = [
        [
            daemon["name"],
            daemon["role"],
            output.state("ok" if daemon["alive"] else "away"),
            str(daemon["config_version"]) + ("" if daemon["config_newest"] else f" of {found['config_version']}"),
            output.plain(
                daemon["config_error"] or ", ".join(f"{key} at its next start" for key in daemon["config_waiting"])
            ),
        ]
        for daemon in found["items"]
    ]
    output.out.print(output.table(["daemon", "role", "state", "version", ""], rows))
    return None


def _waiting(keys: list[str]) -> str:
    return ", ".join(f"{key} at its next start" for key in keys)


def _change(
    client: Client, known: dict[str, Any], changes: dict[str, Any], why: str, dry_run: bool, json: bool
) -> None:
    body = {
        "changes": changes,
        "why": why,
        "version": known["version"],
        "project_version": known["project_version"],
        "dry_run": dry_run,
    }
    _show_changes(client.call("PATCH", "/api/config", body), dry_run, json)


def _show_changes(changed: dict[str, Any], dry_run: bool, json: bool) -> None:
    if json:
        return output.show_json(changed)
    lines = _differences(changed["changed"])
    if not lines:
        return output.out.print("nothing changes: the values are already set")
    output.out.print("\n".join(map(output.plain, lines)), soft_wrap=True)
    for key in changed["restart"]:
        output.out.print(f"{key} takes effect at the next start of each daemon", style="yellow")
    if dry_run:
        output.out.print("nothing was changed: this was a dry run")
    return None


def _differences(changes: dict[str, Any]) -> list[str]:
    return [f"{key}: {_shown(each['before'])} → {_shown(each['after'])}" for key, each in changes.items()]


def _find(known: dict[str, Any], key: str) -> dict[str, Any]:
    found = {value["key"]: value for value in known["values"]}
    if key not in found:
        raise InvalidInput(where=key, problem="unknown key", remedy=nearest(key, found))
    return found[key]


def _value(text: str, kind: str) -> Any:
    """The value to send: text unchanged, other types parsed as JSON if possible. The API validates it."""
    if kind.startswith(("text", "path")):
        return text
    try:
        return json_module.loads(text)
    except ValueError:
        return text


def _shown(value: Any) -> str:
    return "–" if value is None else value if isinstance(value, str) else json_module.dumps(value, ensure_ascii=False)


def _source(value: dict[str, Any]) -> str:
    return f"{value['source']}, another at the next start" if value["waiting"] else value["source"]
