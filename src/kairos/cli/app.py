"""The commands put together, and the one place where errors become a line and an exit code.

Exit codes: 0 done, 1 failed, 2 wrong input, 3 a part is away, 4 not found, 5 conflict, 6 not allowed, 7 too many tries,
10 the task was not approved (rejected, failed, dead or cancelled).
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
    output,
    plugins,
    projects,
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
    help="Tasks, agents and models that get better from their own corrections.",
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
app.add_typer(plugins.app, name="plugin")
app.add_typer(router.app, name="router")
app.add_typer(config.app, name="config")


@app.callback(invoke_without_command=True)
def options(
    context: typer.Context,
    file: Annotated[
        Path | None, typer.Option("--config", help="The kairos.toml to use.", envvar="KAIROS_CONFIG")
    ] = None,
    url: Annotated[str | None, typer.Option(help="Address of a Kairos.", envvar="KAIROS_URL")] = None,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(f"kairos {__version__}")
        raise typer.Exit
    context.obj = Context(file, url)


def run(arguments: list[str] | None = None) -> int:
    """Run a command line. Returns the exit code."""
    tolerate_narrow_encodings()
    logs.configure("warning")
    clear_environment()
    try:
        app(arguments)
    except SystemExit as ended:  # of typer, which has said what there was to say
        return ended.code if isinstance(ended.code, int) else 1
    except Refused as error:
        return _say(error, error.exit)
    except KairosError as error:
        return _say(error, error.exit_code)
    except Exception:  # the trace of a defect may repeat anybody's text, which the log's form makes safe
        log.critical("Kairos met a defect of its own", exc_info=True)
        return 1
    return 0


def _say(error: KairosError, code: int) -> int:
    output.err.print(output.line(("error: ", "red"), output.prose(str(error))), soft_wrap=True)
    return code
