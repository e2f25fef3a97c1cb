"""`kairos start`, `status`, `doctor`, `migrate`, `login`, `logout`: run the daemon, inspect it, and sign in."""

from __future__ import annotations

import gc
import os
import time
from typing import Annotated, Any

import psutil
import typer

from kairos.cli import output
from kairos.cli.addresses import is_loopback
from kairos.cli.client import Refused, connect, daemon_address, runtime
from kairos.cli.context import Json, context_of
from kairos.cli.credentials import CredentialFile
from kairos.cli.diagnosis import Diagnosis, diagnose
from kairos.cli.memory import Memory, memory
from kairos.cli.readiness import readiness
from kairos.errors import InvalidInput
from kairos.model_keys import require_variables

UNHEALTHY = 3


def add_to(app: typer.Typer) -> None:
    for command in (start, status, doctor, migrate, login, logout):
        app.command()(command)


def start(
    context: typer.Context,
    role: Annotated[str, typer.Option(help="all, api, worker or trainer.")] = "all",
    sample: Annotated[
        bool, typer.Option("--sample", help="Run and show a sample task, if there are no tasks yet.")
    ] = False,
) -> None:
    """Start Kairos and serve until Ctrl-C. Without addresses in kairos.toml it starts its embedded engines."""
    began = time.monotonic() - _age_of_process()
    settings = context_of(context).settings()
    require_variables(settings, context_of(context).file)
    # The daemon's imports take most of a second, so other commands avoid them. Imported objects live as long as the
    # daemon does, so garbage collections during the imports would find nothing, and later ones need not visit them.
    gc.disable()
    from kairos.cli.starting import run_daemon

    gc.freeze()
    gc.enable()
    run_daemon(settings, role, began, sample=sample)


def status(context: typer.Context, json: Json = False) -> None:
    """Show whether Kairos runs, the state of its components, and its memory use."""
    client = context_of(context).client()
    ready = readiness(client)
    folder = context_of(context).settings().data_dir
    running = runtime(folder)
    usage = memory(running.get("pid")) if daemon_address(folder) == client.address else None
    answer = {
        "address": client.address,
        **ready,
        "ready_s": running.get("ready_s") if usage else None,
        "memory_mb": usage.sizes if usage else None,
    }
    if json:
        output.show_json(answer)
    else:
        _show_status(answer, usage)
    if ready["status"] == "unavailable":
        raise typer.Exit(UNHEALTHY)


def doctor(context: typer.Context, json: Json = False) -> None:
    """Check the installation, and show problems with their remedies."""
    findings = diagnose(context_of(context).file)
    if json:
        output.show_json([{"what": f.what, "ok": f.ok, "detail": f.detail, "remedy": f.remedy} for f in findings])
    else:
        for finding in findings:
            _show_finding(finding)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


def migrate(context: typer.Context, json: Json = False) -> None:
    """Migrate the database at `database.url` to this version of Kairos. `kairos start` does this as well."""
    from kairos.db import schema  # SQLAlchemy takes a third of a second to import
    from kairos.db.addresses import DatabaseAddresses

    database = context_of(context).settings().database
    if not (database.url and database.migration_url and database.system_url):
        raise InvalidInput(
            where="[database]",
            problem="no addresses are configured, so the database is the embedded one",
            remedy="`kairos start` migrates it; for your own, set url, migration_url and system_url",
        )
    urls = (database.url, database.migration_url, database.system_url)
    before, after = schema.migrate(DatabaseAddresses(*(url.get_secret_value() for url in urls)))
    if json:
        return output.show_json({"before": before, "after": after})
    output.out.print(f"already at {after}" if before == after else f"migrated from {before or 'nothing'} to {after}")
    return None


def login(
    context: typer.Context,
    url: Annotated[str | None, typer.Argument(help="Address of the Kairos server.")] = None,
    email: Annotated[str | None, typer.Option(help="Your e-mail.")] = None,
) -> None:
    """Sign in to a Kairos server on another machine. On the daemon's own machine this is not needed."""
    client = connect(url or context_of(context).url, context_of(context).file)
    client.open("GET", "/api/health/live")
    if client.address.startswith("http:") and not is_loopback(client.address):
        output.err.print(f"{client.address} does not use https: your password is sent unencrypted", style="yellow")
    email = email or str(typer.prompt("E-mail", err=True))
    # The variable lets scripts sign in without a terminal, and without a password in their arguments.
    password = os.environ.get("KAIROS_PASSWORD") or typer.prompt("Password", hide_input=True, err=True)
    client.save(client.open("POST", "/api/auth/login", {"email": email, "password": password}))
    output.out.print(f"signed in at {client.address} as {output.plain(email)}")
    output.err.print(f"use it with --url {client.address}, or export KAIROS_URL={client.address}", style="dim")


def logout(context: typer.Context) -> None:
    """End the session at this address and delete it."""
    client = context_of(context).client()
    if CredentialFile().get(client.address) is None:
        return output.out.print(f"not signed in at {client.address}")
    try:
        client.post("/api/auth/logout")
    except Refused as error:
        if error.http_status != 401:
            raise
    CredentialFile().remove(client.address)
    output.out.print(f"signed out at {client.address}")
    return None


def _show_status(answer: dict[str, Any], usage: Memory | None) -> None:
    output.out.print(output.state(answer["status"]), answer["address"])
    rows = [
        [output.plain(name), output.state(p["state"]), output.plain(p["detail"])] for name, p in answer["parts"].items()
    ]
    output.out.print(output.table(["component", "state", ""], rows))
    if isolation := answer.get("isolation"):
        tests = "run" if isolation["tests_run"] else "are not run: this host cannot isolate code"
        manner = "isolated " if isolation["full"] else ""
        detail = output.plain(isolation["detail"])
        output.out.print(f"tests supplied with tasks {tests} {manner}({detail})", soft_wrap=True)
    if usage:
        parts = ", ".join(f"{name} {size:.0f}" for name, size in usage.sizes.items() if name != "total")
        used = f"{usage.sizes['total']:.0f} {usage.measure}"
        output.out.print(f"ready in {answer['ready_s']} s; memory {used} ({parts})", style="dim")


def _show_finding(finding: Diagnosis) -> None:
    sign = ("✓", "green") if finding.ok else ("✗", "red")
    text = f" {output.plain(finding.what)}: {output.plain(finding.detail)}"
    output.out.print(output.line(sign, text), soft_wrap=True)
    if not finding.ok:
        output.out.print(f"  → {output.plain(finding.remedy)}", soft_wrap=True)


def _age_of_process() -> float:
    """Seconds since the process started, so that the reported start time includes the interpreter's start."""
    return max(0.0, time.time() - psutil.Process().create_time())
