"""`kairos task`: submit, list, show, watch, cancel, retry."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from kairos.cli import output
from kairos.cli.check_options import with_check_options
from kairos.cli.client import Client, NotRunning
from kairos.cli.context import Json, context_of
from kairos.errors import InvalidInput
from kairos.text_files import NotUtf8, decode_text, read_text_file

app = typer.Typer(help="Submit tasks and follow them.", no_args_is_help=True)

NOT_APPROVED = 10
POLL_S = 0.25
RECONNECT_LIMIT_S = 60
FINAL = ("succeeded", "rejected", "failed", "dead", "cancelled")

TaskId = Annotated[str, typer.Argument(help="Id of the task.")]


@app.command()
@with_check_options
def submit(
    *,
    context: typer.Context,
    prompt: Annotated[str | None, typer.Argument(help="The prompt; `-` or nothing reads standard input.")] = None,
    file: Annotated[Path | None, typer.Option("--file", "-f", help="Read the prompt from a file.")] = None,
    agent: Annotated[str | None, typer.Option(help="Name of an agent, or a capability.")] = None,
    task_type: Annotated[str | None, typer.Option("--type", help="Your name for this kind of task.")] = None,
    model: Annotated[str | None, typer.Option(help="Use this model.")] = None,
    system: Annotated[str | None, typer.Option(help="System prompt, in place of the agent's own.")] = None,
    temperature: Annotated[float | None, typer.Option(min=0, max=2, help="Sampling temperature.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Most tokens of the answer.")] = None,
    checks: dict[str, Any],
    lane: Annotated[str | None, typer.Option(help="interactive or batch.")] = None,
    timeout: Annotated[float | None, typer.Option(help="Longest time of one attempt, in seconds.")] = None,
    key: Annotated[str | None, typer.Option(help="Idempotency key: repeated submissions run once.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end and show the result.")] = False,
    json: Json = False,
) -> None:
    """Submit a task; with --wait, follow it to its end."""
    body = {
        "prompt": _prompt(prompt, file),
        "agent": agent,
        "task_type": task_type,
        "model": model,
        "system": system,
        "temperature": temperature,
        "max_tokens": max_tokens,
        "lane": lane,
        "timeout_s": timeout,
        "checks": checks or None,
    }
    client = context_of(context).client()
    task = client.post("/api/tasks", _given(body), {"Idempotency-Key": key} if key else None)
    if wait:
        follow(client, task["id"], quiet=json)
        return show_end(client.get(f"/api/tasks/{task['id']}"), json)
    if json:
        return output.show_json(task)
    output.out.print(f"{task['id']}", output.state(task["state"]))
    output.err.print(f"follow it: kairos task watch {task['id']}", style="dim")


@app.command("list")
def list_tasks(
    context: typer.Context,
    state: Annotated[list[str] | None, typer.Option(help="Only these states; may be repeated.")] = None,
    agent: Annotated[str | None, typer.Option(help="Only tasks of this agent.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200)] = 20,
    cursor: Annotated[str | None, typer.Option(help="`next` of the previous page.")] = None,
    json: Json = False,
) -> None:
    """List the project's tasks, newest first."""
    page = context_of(context).client().get("/api/tasks", state=state, agent=agent, limit=limit, cursor=cursor)
    if json:
        return output.show_json(page)
    if not page["items"]:
        return output.out.print('no tasks yet; submit one: kairos task submit "…" --wait')
    rows = [
        [
            output.state(task["state"]),
            output.plain(output.one_line(task["prompt"], 48)),
            task["agent"],
            task["model"] or "–",
            output.age(task["created_at"]),
            task["id"],
        ]
        for task in page["items"]
    ]
    output.out.print(output.table(["state", "prompt", "agent?", "model?", "age#?", "id"], rows))
    if page["next"]:
        output.err.print(f"more: --cursor {page['next']}", style="dim")


@app.command()
def show(context: typer.Context, task_id: TaskId, json: Json = False) -> None:
    """Show a task with its routing decisions, verdicts and answer."""
    task = context_of(context).client().get(f"/api/tasks/{task_id}")
    if json:
        return output.show_json(task)
    output.out.print(output.task_detail(task))


@app.command()
def watch(context: typer.Context, task_id: TaskId, json: Json = False) -> None:
    """Follow a task to its end."""
    client = context_of(context).client()
    follow(client, task_id, quiet=json)
    show_end(client.get(f"/api/tasks/{task_id}"), json)


@app.command()
def cancel(context: typer.Context, task_id: TaskId, json: Json = False) -> None:
    """Cancel a task; a running model call is aborted."""
    _changed(context_of(context).client().post(f"/api/tasks/{task_id}/cancel"), json)


@app.command()
def retry(context: typer.Context, task_id: TaskId, json: Json = False) -> None:
    """Queue an ended task again."""
    _changed(context_of(context).client().post(f"/api/tasks/{task_id}/retry"), json)


def follow(client: Client, task_id: str, *, quiet: bool) -> None:
    """Print the events of a task until it has ended. Waits for a daemon that restarts."""
    after, lost_at = 0, None
    with output.err.status("waiting", spinner="dots") as status:
        while True:
            try:
                seen = client.get(f"/api/tasks/{task_id}/events", after=after)
                lost_at = None
            except NotRunning:
                lost_at = lost_at or time.monotonic()
                if time.monotonic() - lost_at > RECONNECT_LIMIT_S:
                    raise
                time.sleep(1)
                continue
            for event in seen["items"]:
                after = event["id"]
                if not quiet:
                    output.err.print(_event_line(event), style="dim")
            if seen["state"] in FINAL:
                return
            status.update(output.state(seen["state"]))
            time.sleep(POLL_S)


def _event_line(event: dict[str, Any]) -> str:
    clock = event["at"][11:19]
    return f"{clock}  {event['kind'].replace('_', ' '):<17} {_event_text(event['data'])}"


def _event_text(data: dict[str, Any]) -> str:
    if "chosen" in data:
        return f"{data['chosen']} ({data['kind']})"
    if "approved" in data:
        first = data["findings"][0]["message"] if data["findings"] else ""
        return output.one_line(("approved " if data["approved"] else "rejected ") + first, 100)
    if "error" in data:
        return output.one_line(str(data["error"].get("message", "")), 100)
    if "message" in data:
        return output.one_line(str(data["message"]), 100)
    return " ".join(f"{name}={value}" for name, value in data.items() if name in ("agent", "owner", "lane", "draft"))


def show_end(task: dict[str, Any], json: bool) -> None:
    """Show the ended task. Exits with `NOT_APPROVED` unless it succeeded."""
    if json:
        output.show_json(task)
    else:
        output.out.print(output.task_detail(task))
    if task["state"] != "succeeded":
        raise typer.Exit(NOT_APPROVED)


def _changed(task: dict[str, Any], json: bool) -> None:
    if json:
        return output.show_json(task)
    note = "  cancellation requested" if task["cancel_requested"] and task["state"] == "running" else ""
    output.out.print(task["id"], output.state(task["state"]), note)
    return None


def _prompt(prompt: str | None, file: Path | None) -> str:
    if prompt is not None and file is not None:
        raise InvalidInput(where="prompt", problem="given twice", remedy="Give a prompt or --file")
    if file is not None:
        return read_text_file(file, "--file")
    if prompt in (None, "-"):
        return _standard_input()
    assert prompt is not None
    return prompt


def _standard_input() -> str:
    if sys.stdin is None or sys.stdin.isatty():
        raise InvalidInput(where="prompt", problem="it is missing", remedy='Try: kairos task submit "…" --wait')
    try:
        return decode_text(sys.stdin.buffer.read())
    except NotUtf8 as error:
        raise InvalidInput(where="standard input", problem=str(error), remedy="Send UTF-8 text") from None


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
