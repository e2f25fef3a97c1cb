"""Hosts with different means of isolation, on which tests run the sandbox: namespaces, Landlock alone, or neither."""

from __future__ import annotations

import atexit
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from kairos.agents.checks.task_tests import parse_tests
from tests.kit import refused_calls

PROJECT = Path(__file__).parents[2]
UNPRIVILEGED_USER = 54_321
"""The user id of daemons without privileges when the tests run as root."""
MIB = 1 << 20
RUN_LIMIT_S = 100


class Kind(StrEnum):
    """The means of isolation that a host offers."""

    NAMESPACES = "namespaces"
    LANDLOCK = "landlock"
    """As the user who runs the tests. As root, the sandbox switches to a separate user."""
    LANDLOCK_SAME_USER = "landlock, as the daemon's own user"
    NEITHER = "neither"


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the sandbox: the answer, its tests and the limits."""

    tests: str
    answer: str = "x = 1"
    seconds: float = 6
    memory: int = 512 * MIB


@dataclass(frozen=True, slots=True)
class RunResult:
    """The result of a run."""

    method: str
    unavailable_reason: str
    results: list[tuple[bool, str]] = field(default_factory=list)

    @property
    def message(self) -> str:
        return "; ".join(message for _, message in self.results)

    def by_test(self, names: Iterable[str]) -> dict[str, RunResult]:
        """Return the result of each test by name; `names` is in test order. Nothing runs without isolation."""
        if not self.results:
            return dict.fromkeys(names, self)
        return {name: replace(self, results=[one]) for name, one in zip(names, self.results, strict=True)}

    @property
    def passed(self) -> bool:
        return bool(self.results) and all(passed for passed, _ in self.results)


def run_on(kind: Kind, runs: Sequence[Run], limit_s: float = RUN_LIMIT_S) -> list[RunResult]:
    """Run the sandbox on a host of this kind, once for each run."""
    request = json.dumps([asdict(run) | {"tests": tests_as_json(run.tests)} for run in runs])
    done = command_on(kind, [python_on(kind), "-m", "tests.kit.boxed_runs"], stdin=request, limit_s=limit_s)
    assert done.returncode == 0, done.stderr
    return [
        RunResult(one["way"], one["lacks"], [tuple(result) for result in one["results"]])
        for one in json.loads(done.stdout)
    ]


def tests_as_json(source: str) -> dict[str, Any]:
    """Return the tests in a source as JSON values."""
    tests = parse_tests(source).tests
    return asdict(tests) | {"statements": list(tests.statements.items())}


def command_on(
    kind: Kind, command: Sequence[str], *, stdin: str = "", limit_s: float = RUN_LIMIT_S, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run a command on a host of this kind, as its user, and wait for it."""
    return subprocess.run(
        [*host_command(kind), *command],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=limit_s,
        check=False,
        cwd=PROJECT,
        env=environment(kind),
        **user_on(kind),
        **options,
    )


def host_command(kind: Kind) -> list[str]:
    """Return the prefix of a command that refuses the same system calls as this host."""
    refused = {
        Kind.NAMESPACES: (),
        Kind.LANDLOCK: refused_calls.NO_NAMESPACES,
        Kind.LANDLOCK_SAME_USER: refused_calls.NO_NAMESPACES,
        Kind.NEITHER: (*refused_calls.NO_NAMESPACES, *refused_calls.NO_LANDLOCK),
    }[kind]
    return [python_on(kind), str(PROJECT / "tests/kit/refused_calls.py"), ",".join(map(str, refused))]


def environment(kind: Kind) -> dict[str, str]:
    """Return the environment in which the host's Python finds this project and its libraries."""
    paths = [str(PROJECT), str(PROJECT / "src"), *(path for path in sys.path if path.endswith("site-packages"))]
    own = {"LD_LIBRARY_PATH": str(Path(python_on(kind)).parents[1] / "lib")} if user_on(kind) else {}
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1", **own}


def user_on(kind: Kind) -> dict[str, Any]:
    """Return the arguments of `subprocess` for the user of this host."""
    if kind not in (Kind.LANDLOCK_SAME_USER, Kind.NEITHER) or os.geteuid() != 0:
        return {}
    return {"user": UNPRIVILEGED_USER, "group": UNPRIVILEGED_USER, "extra_groups": []}


def python_on(kind: Kind) -> str:
    """Return an interpreter that the host's user can run."""
    return _plain_python() if user_on(kind) else sys.executable


@functools.cache
def _plain_python() -> str:
    """Return this interpreter, or a copy of it if other users cannot reach it, as in root's home directory."""
    real = Path(os.path.realpath(sys.executable))
    if all(folder.stat().st_mode & 0o005 == 0o005 for folder in real.parents):
        return str(real)
    home = Path(tempfile.mkdtemp(prefix="python-for-anyone-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    home.chmod(0o755)
    prefix, library = Path(sys.base_prefix), Path(os.__file__).parent
    ignored = shutil.ignore_patterns("test", "site-packages", "idlelib", "config-*")
    shutil.copytree(library, home / library.relative_to(prefix), ignore=ignored)
    (home / "bin").mkdir()
    copy = shutil.copy2(real, home / "bin" / real.name)
    for shared in prefix.glob("lib/libpython*.so*"):
        shutil.copy2(shared, home / "lib" / shared.name)
    return str(copy)


def as_test_functions(*bodies: str) -> str:
    """Return source with each body as a test function."""
    return "\n".join(f"def test_{at}():\n{textwrap.indent(body, '    ')}\n" for at, body in enumerate(bodies))
