"""Combine the commands, and turn errors into a message and an exit code.

Exit codes: 0 done, 1 failed, 2 wrong input, 3 component unavailable, 4 not found, 5 conflict, 6 not allowed, 7 too many
attempts, 10 the task was not approved (rejected, failed, dead or cancelled).
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from kairos import __version__, logs
from kairos.cli import (
    adapters,
    config,
    dataset,
    fine_tuning,
    models,
    ollama,
    output,
    plugins,
    projects,
    providers,
    router,
    system,
    tasks,
    users,
)
from kairos.cli.client import Refused
from kairos.cli.console import tolerate_narrow_encodings
from kairos.cli.context import Context
from kairos.db.libpq import clear_environment
from kairos.errors import KairosError

log = logging.getLogger(__name__)

app = typer.Typer(
    name="kairos",
    help="Run tasks with agents and models, check the answers, and fine-tune the models on corrections.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=True,
)
system.add_to(app)
app.add_typer(projects.app, name="project")
app.add_typer(users.app, name="user")
app.add_typer(dataset.app, name="dataset")
app.command()(fine_tuning.fine_tune)
app.add_typer(fine_tuning.training, name="training")
app.add_typer(adapters.app, name="adapter")
app.add_typer(tasks.app, name="task")
app.add_typer(models.app, name="model")
ollama.add_to(providers.app)
app.add_typer(providers.app, name="provider")
app.add_typer(plugins.app, name="plugin")
app.add_typer(router.app, name="router")
app.add_typer(config.app, name="config")


@app.callback(invoke_without_command=True)
def options(
    context: typer.Context,
    file: Annotated[
        Path | None, typer.Option("--config", help="The kairos.toml to use.", envvar="KAIROS_CONFIG")
    ] = None,
    url: Annotated[str | None, typer.Option(help="Address of a Kairos server.", envvar="KAIROS_URL")] = None,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(f"kairos {__version__}")
        raise typer.Exit
    context.obj = Context(file, url)


def run(arguments: list[str] | None = None) -> int:
    """Run a command line and return the exit code."""
    tolerate_narrow_encodings()
    logs.configure("warning")
    clear_environment()
    try:
        app(arguments)
    except SystemExit as ended:  # raised by typer, which has printed the message
        return ended.code if isinstance(ended.code, int) else 1
    except Refused as error:
        return _fail(error, error.exit)
    except KairosError as error:
        return _fail(error, error.exit_code)
    except Exception:  # logged, because the traceback may contain untrusted text, which the log escapes
        log.critical("an internal error occurred", exc_info=True)
        return 1
    return 0


def _fail(error: KairosError, code: int) -> int:
    output.err.print(output.line(("error: ", "red"), output.prose(str(error))), soft_wrap=True)
    return code
