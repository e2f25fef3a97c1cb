"""The command line interface. `kairos --help` lists the commands; docs/cli.md describes each."""

from __future__ import annotations

import gc
import sys


def main() -> None:
    """Entry point of the `kairos` script."""
    # Imported objects live until the end, so collections during the imports, a tenth of their time, would find nothing.
    gc.disable()
    from kairos.cli.app import run

    gc.freeze()
    gc.enable()
    sys.exit(run())
