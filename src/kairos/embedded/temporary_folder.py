"""A place for temporary files where the system has none, as in a container with a read-only root and no /tmp."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from pathlib import Path

from kairos.embedded.folder_rights import private_folder

log = logging.getLogger(__name__)


def ensure_temporary_folder(data_dir: Path) -> None:
    """Use `tmp` in the data folder, emptied, for this process and its children, unless the system's folder works.

    The caller holds the data folder's lock, so what is in `tmp` belongs to no running daemon.
    """
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        folder = data_dir / "tmp"
        shutil.rmtree(folder, ignore_errors=True)
        tempfile.tempdir = str(private_folder(folder))
        os.environ["TMPDIR"] = tempfile.tempdir
        log.info("the system has no writable folder for temporary files: they go to %s", folder)
