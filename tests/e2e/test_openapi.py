"""The API against its own description, with made-up inputs (schemathesis), signed in and not.

`tests/kit/odd_values.py` mixes in what cannot be stored: NUL, lone surrogates, wide integers, impossible times.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kairos.cli.client import runtime
from kairos.embedded import Addresses
from tests.kit import odd_values
from tests.kit.daemon_process import DaemonProcess, on_engines

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
ENDS_THE_SESSION = "^/api/auth/logout"
HYPOTHESIS = Path(__file__).parents[2] / ".hypothesis"
"""Keeps what is known of Unicode, which takes seconds to work out."""
EXAMPLES = {True: "10", False: "4"}
"""Made-up requests of a route, signed in and not, beside those at the borders of what it describes. Without a
credential most routes read little of a request. Given a time instead (`--max-time`), schemathesis goes on until it is
spent, and a slow machine tries less."""


@pytest.fixture(scope="module")
async def daemon(addresses: Addresses, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DaemonProcess]:
    daemon = await DaemonProcess(tmp_path_factory.mktemp("kairos"), on_engines(addresses)).start("--role", "api")
    yield daemon
    await daemon.stop()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("signed_in", [True, False], ids=["signed in", "not signed in"])
async def test_no_server_error_and_no_undocumented_status(daemon: DaemonProcess, tmp_path: Path, signed_in: bool):
    address = runtime(daemon.folder / "data")["address"]
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{address}/api/openapi.json", "--checks", CHECKS]
    command += ["--phases", "examples,coverage,fuzzing", "--max-examples", EXAMPLES[signed_in]]
    command += ["--exclude-path-regex", ENDS_THE_SESSION, "--seed", "1", "--no-color", "--warnings", "off"]
    command += ["--generation-database", "none"]
    if signed_in:
        token = daemon.client().sign_in().access_token
        command += ["--header", f"Authorization: Bearer {token}"]
    environment = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": odd_values.__file__,
        "HYPOTHESIS_STORAGE_DIRECTORY": str(HYPOTHESIS),
    }
    run = await asyncio.to_thread(
        subprocess.run, command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=290
    )
    assert run.returncode == 0, f"{run.stdout[-6000:]}\n{run.stderr[-2000:]}"
