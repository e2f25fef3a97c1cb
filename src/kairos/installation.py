"""The distribution on PyPI, and the command that adds an extra to this copy of Kairos."""

from __future__ import annotations

import sys
from pathlib import Path

DISTRIBUTION = "kairos-loop"
CLONE = Path(__file__).parents[2]
"""The folder of Kairos, if this copy runs from a clone."""
TARGETS = {"embedded": "setup", "train": "train"}
"""The make target of a clone for each extra."""
UV_RECEIPT = "uv-receipt.toml"
"""The file that `uv tool install` leaves in an environment."""


def command_for(extra: str) -> str:
    """The command that installs an extra, `embedded` or `train`, for this copy."""
    if (CLONE / "Makefile").is_file():
        return f"`make {TARGETS[extra]}` in the folder of Kairos"
    # Both extras, because `uv tool install` replaces the ones that are installed.
    extras = "embedded" if extra == "embedded" else f"embedded,{extra}"
    installer = "uv tool install" if (Path(sys.prefix) / UV_RECEIPT).is_file() else "pip install"
    return f"`{installer} '{DISTRIBUTION}[{extras}]'`"
