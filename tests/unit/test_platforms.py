"""Steps that work on Linux only are skipped or refused with a reason on macOS. The platform is simulated."""

from __future__ import annotations

import os
import resource
import sys
import types

import psutil
import pytest

from kairos import environment
from kairos.agents.checks.isolation import HostIsolation
from kairos.agents.checks.sandbox.jail import IsolationMethod
from kairos.agents.checks.sandbox.launcher import SandboxFailed, run_sandboxed
from kairos.agents.checks.task_tests import parse_tests
from kairos.api.connections import MACOS_FILES, raise_file_limit
from kairos.cli.memory import memory

TESTS = parse_tests("def test_it():\n    assert True\n").tests


@pytest.fixture
def macos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")


@pytest.mark.usefixtures("macos")
@pytest.mark.parametrize("allow_weak", [False, True])
async def test_supplied_tests_are_refused_on_macos_even_if_weak_isolation_is_allowed(allow_weak: bool):
    status = await HostIsolation([], allow_weak=allow_weak).status()
    assert (status.method, status.full, status.allowed) == (IsolationMethod.NONE, False, False)
    assert status.detail == "isolation needs Linux with namespaces or Landlock, and this system is macOS"


@pytest.mark.usefixtures("macos")
async def test_sandbox_starts_no_process_on_macos():
    children = psutil.Process().children()
    with pytest.raises(SandboxFailed, match="this system is macOS"):
        await run_sandboxed("", TESTS, 1.0, 1 << 28, allow_weak=True)
    assert psutil.Process().children() == children


def test_memory_is_the_resident_set_size_on_macos(monkeypatch: pytest.MonkeyPatch):
    """The result of psutil's `memory_full_info` has no PSS there."""
    monkeypatch.setattr(psutil.Process, "memory_full_info", lambda process: types.SimpleNamespace(uss=1))
    monkeypatch.setattr(sys, "platform", "darwin")
    usage = memory(os.getpid())
    assert usage is not None
    assert (usage.measure, usage.sizes["daemon"] > 1) == ("MB", True)


def test_file_limit_of_macos_is_used_if_a_higher_one_is_refused(monkeypatch: pytest.MonkeyPatch):
    """macOS reports an unlimited hard limit and refuses limits above its maximum."""
    given = []

    def setrlimit(kind: int, limits: tuple[int, int]) -> None:
        if limits[0] > MACOS_FILES:
            raise ValueError("current limit exceeds maximum limit")
        given.append((kind, limits))

    monkeypatch.setattr(resource, "getrlimit", lambda kind: (256, resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, "setrlimit", setrlimit)
    assert raise_file_limit() == MACOS_FILES
    assert given == [(resource.RLIMIT_NOFILE, (MACOS_FILES, resource.RLIM_INFINITY))]


@pytest.mark.usefixtures("macos")
def test_secrets_leave_the_environment_on_macos(monkeypatch: pytest.MonkeyPatch):
    """Without prctl and /proc: the variable is removed, and Kairos still finds its value."""
    monkeypatch.setenv("SOME_API_KEY", "secret")
    monkeypatch.setattr(environment, "_sealed", {})
    monkeypatch.setattr(environment, "_is_secret", lambda name, text: name == "SOME_API_KEY")
    environment.seal()
    assert "SOME_API_KEY" not in os.environ
    assert environment.value("SOME_API_KEY") == "secret"
