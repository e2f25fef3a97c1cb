"""Run a daemon for `kairos start`, print its start message, and run the sample task of the first start."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import uvloop
from rich.text import Text

from kairos import environment, logs
from kairos.agents.checks.isolation import IsolationStatus
from kairos.cli import output
from kairos.cli.client import Client
from kairos.cli.credentials import CredentialFile
from kairos.cli.memory import memory
from kairos.cli.tasks import follow
from kairos.config import Settings
from kairos.daemon import Started, serve
from kairos.db.models import DaemonRole
from kairos.errors import InvalidInput, KairosError

SAMPLE = {
    "prompt": 'Is this review positive or negative? "Wonderful staff and delicious food, we will come back."',
    "temperature": 0,
    "max_tokens": 64,
    "checks": {
        "schema": {
            "type": "object",
            "properties": {"sentiment": {"enum": ["positive", "negative"]}},
            "required": ["sentiment"],
            "additionalProperties": False,
        },
        "require": ["positive"],
    },
}
"""A task that the embedded model solves, with checks of the answer (`python -m benchmarks.small_model`)."""


def run_daemon(settings: Settings, role: str, began: float, *, sample: bool) -> None:
    """Run a daemon until a signal arrives."""
    if role not in list(DaemonRole):
        raise InvalidInput(
            where="--role", problem=f"{role!r} is not a role", remedy=f"Use one of: {', '.join(DaemonRole)}"
        )
    logs.configure(settings.log_level)
    environment.seal(model.api_key_env for model in settings.models if model.api_key_env)

    def announce(started: Started) -> None:
        _show(started)
        if sample and started.address:
            worker = threading.Thread(target=_run_sample, args=(started.address, settings.data_dir), daemon=True)
            worker.start()

    uvloop.run(serve(settings, DaemonRole(role), announce, began))


def _show(started: Started) -> None:
    """Print the start message in one write, so that log lines cannot interrupt it."""
    usage = memory(os.getpid())
    used = f", {usage.sizes['total']:.0f} {usage.measure} in total" if usage else ""
    where = started.page or "(worker, no API)"
    lines = [output.line(output.bold("Kairos is ready"), f" at {where} in {started.seconds:.1f} s{used}")]
    lines += [
        output.line(("degraded", "yellow"), f" {output.plain(name)}: {output.plain(detail)}")
        for name, detail in started.missing.items()
    ]
    lines.append(_isolation(started.isolation))
    if started.setup_link:
        notice = "No operator has a password yet. Set it with this link (each start prints a new one): "
        lines.append(output.line(notice, output.bold(started.setup_link)))
    output.out.print(Text("\n").join(lines), soft_wrap=True)


def _isolation(isolation: IsolationStatus) -> Text:
    """A line about the isolation of supplied tests on this host."""
    detail = output.plain(isolation.detail)
    if isolation.full:
        return output.line(f"tests supplied with tasks run isolated {detail}")
    if isolation.allowed:
        return output.line(
            ("tests supplied with tasks run WITHOUT full isolation", "bold red"),
            ", as guardian.allow_weak_isolation allows: they can reach this daemon's files, secrets and network"
            f" ({detail})",
        )
    return output.line(
        ("tests supplied with tasks are not run: this host cannot isolate code", "yellow"),
        f" ({detail}). See docs/isolation.md",
    )


def _run_sample(address: str, data_dir: Path) -> None:
    """Run the sample task through the API, unless the project already has tasks."""
    client = Client(address, data_dir, CredentialFile())
    try:
        if client.get("/api/tasks", limit=1)["items"]:
            return
        output.out.print("\nsample task on the embedded model:")
        task = client.post("/api/tasks", SAMPLE)
        follow(client, task["id"], quiet=False)
        output.out.print(output.task_detail(client.get(f"/api/tasks/{task['id']}")))
    except KairosError as error:
        output.err.print(output.line(("the sample task failed: ", "red"), output.prose(str(error))))
    output.out.print(f'\nAPI: {address}/api  try: kairos task submit "…" --wait  stop: Ctrl-C', soft_wrap=True)
