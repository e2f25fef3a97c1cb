"""Provides a folder for temporary files if the system has none, as in a container with a read-only root and no /tmp."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from pathlib import Path

from kairos.embedded.folder_rights import private_folder

log = logging.getLogger(__name__)


def ensure_temporary_folder(data_dir: Path) -> None:
    """If the system has no temporary folder, use an emptied `tmp` in the data folder for this process and its children.

    The caller holds the data folder's lock, so no running daemon uses the files in `tmp`.
    """
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        folder = data_dir / "tmp"
        shutil.rmtree(folder, ignore_errors=True)
        tempfile.tempdir = str(private_folder(folder))
        os.environ["TMPDIR"] = tempfile.tempdir
        log.info("the system has no writable temporary folder: using %s", folder)
