"""Transactions in PostgreSQL per task, by step, while the model is new and once it is known.

Run: python -m benchmarks.transactions [--tasks 40] [--seconds 0]

Tasks are submitted over HTTP, one after the other, to a daemon in this process with a scripted model. Each has a check,
so that its quality is measured. COMMIT and ROLLBACK of the pools of the app role and of the system role are counted;
the step is recognised by the statements of the transaction. `--seconds` is the duration of each model call.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import event

from kairos.config import DatabaseSettings, QueueSettings
from kairos.db import schema
from kairos.db.addresses import DatabaseAddresses
from kairos.db.engine import Database
from kairos.db.models import TaskState
from kairos.db.repositories.tasks import tasks
from kairos.llm.routing.llm_router import FEW_OBSERVATIONS
from kairos.tenancy import ProjectId
from tests.kit.api import serving, signed_in
from tests.kit.conditions import eventually
from tests.kit.engines import engines_for_tests
from tests.kit.kairos_app import KairosApp, open_app
from tests.kit.model_server import ModelServer, ScriptedModel

STEPS = (
    ("submit", r"INSERT INTO tasks"),
    ("claim", r"UPDATE tasks SET .*epoch=\(?tasks\.epoch \+"),
    ("conclude", r"UPDATE tasks SET .*finished_at="),
    ("run: decision", r"INSERT INTO routing_decisions"),
    ("run: calls", r"INSERT INTO model_performance_metrics"),
    ("run: events", r"INSERT INTO task_events"),
    ("learn: write", r"router_statistics as kept"),
    ("learn: read", r"select stood\.task_type"),
    ("authenticate", r"FROM users|memberships"),
    ("background", r""),
)
"""Steps with a pattern of their statements; the first match counts."""
SETTLE_S = 0.15
TASK_TYPE = "benchmark"


@contextmanager
def counted(database: Database) -> Iterator[Counter[str]]:
    """Count the transactions of both pools by step while the block runs."""
    counts: Counter[str] = Counter()
    statements: dict[int, list[str]] = {}

    def sent(connection: Any, _: Any, statement: str, *__: Any) -> None:
        statements.setdefault(id(connection), []).append(statement)

    def ended(connection: Any) -> None:
        text = "\n".join(statements.pop(id(connection), []))
        step = next(name for name, pattern in STEPS if re.search(pattern, text, re.DOTALL))
        counts[step] += 1

    hooks = [("before_cursor_execute", sent), ("commit", ended), ("rollback", ended)]
    engines = (database._app.sync_engine, database._system.sync_engine)
    for engine in engines:
        for name, hook in hooks:
            event.listen(engine, name, hook)
    try:
        yield counts
    finally:
        for engine in engines:
            for name, hook in hooks:
                event.remove(engine, name, hook)


class Load:
    """Runs tasks and waits for their end, through a pool of its own that is not counted."""

    def __init__(self, app: KairosApp, caller: Any, watching: Database) -> None:
        self._app = app
        self._caller = caller
        self._watching = watching

    async def run(self, number: int) -> None:
        for _ in range(number):
            body = {"prompt": "say hello", "task_type": TASK_TYPE, "checks": {"require": ["hello"]}}
            reply = await self._caller.post("/api/tasks", body)
            assert reply.status == 201, reply.body
            await eventually(lambda task_id=UUID(reply["id"]): self._succeeded(task_id), 30, "the task has succeeded")
            await asyncio.sleep(SETTLE_S)  # the notice of the own statistics arrives

    async def _succeeded(self, task_id: UUID) -> bool:
        async with self._watching.project(ProjectId(self._app.project_id)) as session:
            row = await tasks.get(session, task_id)
        return row is not None and row.state == TaskState.SUCCEEDED


async def measure(folder: Path, number: int, seconds: float) -> None:
    async with engines_for_tests(folder) as found, ModelServer() as server:
        addresses = DatabaseAddresses(found.database_url, found.migration_url, found.system_url)
        schema.migrate(addresses)
        server.add(ScriptedModel("echo", answer="hello", first_token_s=seconds))
        watching = Database(addresses, DatabaseSettings())
        async with open_app(found, server, queue=QueueSettings()) as app, serving(app.parts) as anonymous:
            caller = await signed_in(app.parts, anonymous, app.user_id, app.project_id)
            load = Load(app, caller, watching)
            async with app.working():
                await load.run(2)  # loads statistics and starts the process that checks code
                with counted(app.database) as new:
                    await load.run(number)
                await load.run(max(0, FEW_OBSERVATIONS + 10 - number))
                with counted(app.database) as known:
                    await load.run(number)
        await watching.close()
    table(new, known, number)


def table(new: Counter[str], known: Counter[str], number: int) -> None:
    """Print transactions per task; totals are without background work and without authentication."""
    print(f"{'transactions per task':<24}{'model new':>12}{'model known':>12}")
    for name, _ in STEPS:
        print(f"{name:<24}{new[name] / number:>12.2f}{known[name] / number:>12.2f}")
    apart = ("authenticate", "background")
    sums = [sum(n for name, n in counts.items() if name not in apart) / number for counts in (new, known)]
    print(f"{'sum without the last two':<24}{sums[0]:>12.2f}{sums[1]:>12.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=0.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        asyncio.run(measure(folder, given.tasks, given.seconds))


if __name__ == "__main__":
    main()
