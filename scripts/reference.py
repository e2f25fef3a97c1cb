"""Write docs/configuration.md, docs/cli.md, docs/api.md, kairos.toml and the options of the checks from the code:
python -m scripts.reference

A test compares the files with the code.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer
from typer.cli import get_docs_for_click

from kairos.agents.checks.requested import in_order
from kairos.cli.app import app
from kairos.cli.check_options import FILE
from kairos.config import ApplyMode
from kairos.config_reference import Key, Table, model_table, tables
from kairos.orchestration.configuration.config_changes import PROJECT
from kairos.project_settings import ProjectSettings
from scripts import openapi

ROOT = Path(__file__).parents[1]
CHECK_OPTIONS = ROOT / "src" / "kairos" / "cli" / FILE
EFFECT = {
    ApplyMode.LIVE: "within 2 s",
    ApplyMode.RESTART: "at the next start",
    ApplyMode.FILE: "kairos.toml and a restart",
}

CONFIGURATION = """\
# Configuration

<!-- Written by `python -m scripts.reference` from src/kairos/config.py. A test compares it with the code. -->

A value comes from the first of these sources that sets it:

1. changes at run time (`kairos config set`, `PATCH /api/config`, the dashboard),
2. the environment: `KAIROS_QUEUE__MAX_ATTEMPTS=5` is `max_attempts` under `[queue]`,
3. `kairos.toml` ([one with every key](../kairos.toml)),
4. the default below.

Changes at run time are stored in PostgreSQL and apply to every daemon, most of them within 2 seconds, by a notification
over Redis or, if that is lost, by polling. `kairos config replicas` shows the version of each daemon, and why a daemon
could not apply the newest. Every change creates a version with author, time and reason (`kairos config history`), and
`kairos config revert` restores a version.

```console
$ kairos config show router
$ kairos config set max_concurrent_tasks=8 --why "two more people"
$ kairos config set judge.share=0.1 router.lambda_cost=0.1 --dry-run
$ kairos config unset max_concurrent_tasks
```

Operators change the values of the installation. Admins and owners of a project change those of their project, whose
keys begin with `project.`. Secrets are not accepted as values, and the API never returns the addresses of the
databases.
"""

API = """
# HTTP API

<!-- Written by `python -m scripts.reference` from src/kairos/api. A test compares it with the code. -->

The server describes parameters, bodies and responses at `/api/openapi.json`. Every request except health and sign-in
needs `Authorization: Bearer …`, an access token or an API key; it determines the project. Errors are problem documents
(RFC 9457) whose `detail` contains the remedy. [How to use the HTTP API](how-to/http.md) has examples.
"""

TOML = """\
# The configuration of Kairos, with all keys and their defaults. See docs/configuration.md.
# Written by `python -m scripts.reference`. To set a key, uncomment it and the name of its table. The
# environment overrides this file, and changes at run time (`kairos config set`) override both.
# Do not put API keys of providers here: `api_key_env` names the environment variable with the key.
"""

EXAMPLES = {
    "url": '"redis://:password@host:6379/0"',
    "migration_url": '"postgresql://owner:password@host/kairos"',
    "system_url": '"postgresql://system:password@host/kairos"',
    "upstream": '"llama3.2:3b"',
    "api_key_env": '"OPENAI_API_KEY"',
    "price": "{ input = 0.25, output = 2.0 }",
    "tier": "0.7",
    "runner": '"ollama"',
    "weights": '"/models/llama3.2-3b.gguf"',
    "adapters_path": '"/adapters"',
    "adapters": '"ollama"',
    "folder": '"/var/lib/kairos/models"',
    "project_cap": "8",
    "name": '"llama3.2"',
    "base_url": '"http://127.0.0.1:11434/v1"',
    "database.url": '"postgresql://app:password@host/kairos"',
}
"""Examples for keys without a default."""


def files() -> dict[Path, Callable[[], str]]:
    """Return the generated files with the functions that write them."""
    return {
        ROOT / "docs" / "configuration.md": configuration,
        ROOT / "docs" / "cli.md": commands,
        ROOT / "docs" / "api.md": endpoints,
        ROOT / "kairos.toml": toml,
        CHECK_OPTIONS: check_options,
    }


def configuration() -> str:
    parts = [CONFIGURATION]
    for table in tables():
        parts += [f"## `[{table.name}]`" if table.name else "## Top level", table.description, *_rows(table)]
    parts += ["## `[[models]]`", model_table().description, *_rows(model_table())]
    parts += ["## Project settings", "Set with `kairos config set project.KEY=VALUE` or on the project's page."]
    parts += ["\n".join(["| key | default | |", "|---|---|---|", *_of_project()])]
    return "\n\n".join(part for part in parts if part) + "\n"


def check_options() -> str:
    """Return the help text and the JSON schema of each check's parameter, for `kairos task submit`."""
    options = {check.name: {"help": check.option, "schema": check.schema()} for check in in_order()}
    return json.dumps(options, indent=1, ensure_ascii=False) + "\n"


def commands() -> str:
    command: Any = typer.main.get_command(app)
    text = get_docs_for_click(obj=command, ctx=typer.Context(command), name="kairos", title="Commands")
    note = "<!-- Written by `python -m scripts.reference` from src/kairos/cli. A test compares it with the code. -->"
    head, _, rest = text.partition("\n")
    return f"{head}\n\n{note}\n{rest.rstrip()}\n"


def endpoints() -> str:
    """Return a page with every endpoint of the OpenAPI description, by tag."""
    rows: dict[str, list[str]] = {}
    for path, methods in json.loads(openapi.text())["paths"].items():
        for method, operation in methods.items():
            summary = " ".join(operation["description"].split("\n\n")[0].split()).replace("|", "\\|")
            rows.setdefault(operation["tags"][0], []).append(f"| `{method.upper()} {path}` | {summary} |")
    parts = [API.strip()]
    for tag in sorted(rows):
        parts += [f"## {tag.capitalize()}", "\n".join(["| request | |", "|---|---|", *rows[tag]])]
    return "\n\n".join(parts) + "\n"


def toml() -> str:
    lines = [TOML.rstrip()]
    for table in tables():
        lines += _table(table, f"[{table.name}]" if table.name else "")
    return "\n".join([*lines, *_table(model_table(), "[[models]]")]) + "\n"


def _rows(table: Table) -> Iterator[str]:
    rows = [
        f"| `{key.name.rpartition('.')[2]}` | {key.kind} | {_default(key)} | {EFFECT[key.reach]} | {key.description} |"
        for key in table.keys
    ]
    yield "\n".join(["| key | type | default | takes effect | |", "|---|---|---|---|---|", *rows])


def _of_project() -> Iterator[str]:
    for name, entry in ProjectSettings.model_fields.items():
        yield f"| `{PROJECT}{name}` | {_literal(entry.get_default(call_default_factory=True))} | {entry.description} |"


def _table(table: Table, header: str) -> Iterator[str]:
    yield ""
    if header:
        yield f"# {table.description}"
        yield f"# {header}"
    for key in table.keys:
        name = key.name.rpartition(".")[2]
        value = EXAMPLES.get(key.name, EXAMPLES.get(name, '""')) if key.default is None else _toml(key.default)
        yield f"# {key.description} ({key.kind})"
        yield f"# {name} = {value}"


def _default(key: Key) -> str:
    return "–" if key.default is None else _literal(key.default)


def _literal(value: Any) -> str:
    return "–" if value is None else f"`{_toml(value)}`"


def _toml(value: Any) -> str:
    return "{}" if value == {} else json.dumps(value, ensure_ascii=False)


def main() -> None:
    """Write the files. New options of `kairos task submit` take effect in a new process, which writes docs/cli.md."""
    stale = CHECK_OPTIONS.read_text() != check_options()
    for path, text in files().items():
        path.write_text(text())
    if stale:
        subprocess.run([sys.executable, "-m", "scripts.reference"], check=True, cwd=ROOT)


if __name__ == "__main__":
    main()
