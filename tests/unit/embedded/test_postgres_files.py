"""PostgreSQL's files in the data folder."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from kairos.embedded.postgres_files import remove_unfinished


def test_folder_to_which_a_process_still_writes_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A file created while the folder is being removed: simulated, because it cannot be timed."""
    folder, removals = tmp_path / "new-data-1", 0
    (folder / "base").mkdir(parents=True)
    rmtree = shutil.rmtree

    def interrupted(path: Path, **options: Any) -> None:
        nonlocal removals
        removals += 1
        rmtree(path, **options)
        if removals == 1:
            (path / "base").mkdir(parents=True)

    monkeypatch.setattr(shutil, "rmtree", interrupted)
    remove_unfinished(folder)
    assert not folder.exists()
    assert removals == 2
