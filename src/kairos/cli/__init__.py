"""The command line interface. `kairos --help` lists the commands; docs/cli.md describes each."""

from __future__ import annotations

import sys

from kairos.cli.app import run


def main() -> None:
    """Entry point of the `kairos` script."""
    sys.exit(run())
