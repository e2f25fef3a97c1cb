"""`kairos plugin`: list, show, new, check, run, reload."""

from __future__ import annotations

import json as jsonlib
import urllib.parse
from pathlib import Path
from typing import Annotated, Any

import typer

from kairos.cli import output, tasks
from kairos.cli.context import Json, context_of
from kairos.errors import InvalidInput

app = typer.Typer(help="Plugins with your own agents.", no_args_is_help=True)

INVALID = 1
Name = Annotated[str, typer.Argument(help="Name of the plugin.")]


@app.command("list")
def list_plugins(context: typer.Context, json: Json = False) -> None:
    """List plugins and built-in agents, with the errors of those that are not loaded."""
    items = context_of(context).client().get("/api/plugins")["items"]
    if json:
        return output.show_json(items)
    rows = [
        [
            output.plain(plugin["name"]),
            output.state(plugin["state"]),
            plugin["source"],
            output.plain(plugin["file"] or "–"),
            output.plain(", ".join(plugin["capabilities"]) or "–"),
            str(_runs(plugin["today"])),
        ]
        for plugin in items
    ]
    output.out.print(output.table(["name", "state", "source", "file?", "capabilities?", "today#?"], rows))
    for plugin in items:
        if plugin["error"]:
            error = output.plain(f"{plugin['name']}: {output.one_line(plugin['error'], 160)}")
            output.out.print(error, style="red", soft_wrap=True)
    return None


@app.command()
def show(context: typer.Context, name: Name, json: Json = False) -> None:
    """Show a plugin: configuration, today's tasks, and its error with the traceback."""
    plugin = context_of(context).client().get(f"/api/plugins/{urllib.parse.quote(name, safe='')}")
    if json:
        return output.show_json(plugin)
    output.out.print(output.plain(plugin["name"]), output.state(plugin["state"]), output.plain(plugin["description"]))
    kind = "in the daemon" if plugin["is_async"] else "in a process of its own per task"
    facts = {
        "source": f"{plugin['source']} {plugin['file']}".strip(),
        "capabilities": ", ".join(plugin["capabilities"]) or "–",
        "runs": "" if plugin["state"] == "failed" else kind,
        "today": ", ".join(f"{number} {what}" for what, number in _counts(plugin["today"]).items()) or "no tasks",
        "config": jsonlib.dumps(plugin["config"], ensure_ascii=False) if plugin["config"] else "",
        "schema": jsonlib.dumps(plugin["config_schema"], ensure_ascii=False) if plugin["config_schema"] else "",
        "tried again": plugin["tried_again_at"] or "",
    }
    output.out.print(output.table(["", ""], [[name, output.plain(value)] for name, value in facts.items() if value]))
    if plugin["error"]:
        output.out.print(plugin["error"], style="red")
    if plugin["trace"]:
        output.out.print(plugin["trace"], style="dim", soft_wrap=True)
    return None


@app.command()
def new(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the agent, such as WeatherAgent.")],
    folder: Annotated[
        Path | None, typer.Option(help="Target folder; by default the plugin folder in kairos.toml.")
    ] = None,
    sync: Annotated[
        bool, typer.Option("--sync", help="Write a blocking plugin, which runs in its own process.")
    ] = False,
) -> None:
    """Write an example plugin and its test."""
    from kairos.cli.plugin_files import write_example

    written = write_example(name, folder or context_of(context).settings().plugins.folder, sync=sync)
    for path in written:
        output.out.print(f"wrote {path}", soft_wrap=True)
    output.err.print(f"check it: kairos plugin check {written[0]}", style="dim", soft_wrap=True)
    output.err.print(f"test it:  python -m pytest {written[1]}", style="dim", soft_wrap=True)
    output.err.print("load it:  kairos plugin reload", style="dim")


@app.command()
def check(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A plugin file, or the folder of a package.")],
    json: Json = False,
) -> None:
    """Import a plugin as the daemon does, and show its agents or its errors. No daemon is needed."""
    from kairos.cli.plugin_files import examine

    found = examine(context_of(context).settings().plugins, file)
    if json:
        output.show_json([_plain(one) for one in found])
    for one in found if not json else ():
        _show_found(one)
    if any(one.error for one in found):
        raise typer.Exit(INVALID)


@app.command()
def run(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of a plugin; with --file, of a class or agent in the file.")],
    prompt: Annotated[str, typer.Argument(help="The prompt.")],
    file: Annotated[
        Path | None, typer.Option(help="Run it from this file, without a daemon and without models.")
    ] = None,
    config: Annotated[str | None, typer.Option(help="With --file: the plugin's configuration as JSON.")] = None,
    json: Json = False,
) -> None:
    """Run a task with a plugin, and show the result."""
    if file is None:
        if config is not None:
            raise InvalidInput(
                where="--config", problem="it requires --file", remedy="Set the configuration in kairos.toml"
            )
        client = context_of(context).client()
        task = client.post("/api/tasks", {"prompt": prompt, "agent": name})
        tasks.follow(client, task["id"], quiet=json)
        return tasks.show_end(client.get(f"/api/tasks/{task['id']}"), json)
    from kairos.cli.plugin_files import run_offline  # imports the daemon's modules, which other commands do not need

    settings = context_of(context).settings().plugins
    text = run_offline(settings, file, name, prompt, _config(config))
    return output.show_json({"output": text}) if json else output.show_text(text)


@app.command()
def reload(context: typer.Context, json: Json = False) -> None:
    """Scan for plugins again on all daemons. Running tasks continue with the old version."""
    done = context_of(context).client().post("/api/plugins/reload")
    if json:
        return output.show_json(done)
    output.out.print(f"{done['loaded']} loaded, {done['failed']} failed")
    return None


def _config(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        values = jsonlib.loads(text)
    except jsonlib.JSONDecodeError as error:
        raise InvalidInput(
            where="--config", problem=f"it is not valid JSON: {error}", remedy='Use {"key": …}'
        ) from None
    if not isinstance(values, dict):
        raise InvalidInput(where="--config", problem="it is not a JSON object", remedy='Use {"key": …}')
    return values


def _runs(today: dict[str, Any]) -> int:
    return sum(_counts(today).values())


def _counts(today: dict[str, Any]) -> dict[str, int]:
    states = ("succeeded", "rejected", "failed", "cancelled", "running", "queued")
    return {name: today[name] for name in states if today[name]}


def _plain(found: Any) -> dict[str, Any]:
    names = ("name", "kind", "capabilities", "is_async", "schema", "description", "error", "trace")
    return {name: getattr(found, name) for name in names}


def _show_found(found: Any) -> None:
    if not found.error and found.is_provider:
        output.out.print(f'✓ {found.name} ({found.kind}): a provider; name it with protocol = "plugin:{found.name}"')
        return
    if not found.error:
        kind = "async, in the daemon" if found.is_async else "sync, in a process of its own per task"
        able = ", ".join(found.capabilities) or "none"
        output.out.print(f"✓ {found.name} ({found.kind}): {kind}; capabilities: {able}", soft_wrap=True)
        return
    output.out.print(f"✗ {found.kind or found.source.label}: {found.error}", style="red", soft_wrap=True)
    if found.trace:
        output.out.print(found.trace, style="dim", soft_wrap=True)
    output.out.print("  → see docs/plugins.md, 'Requirements'", style="dim")
