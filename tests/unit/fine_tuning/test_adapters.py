"""Adapter files are stored completely or not at all, verified when used, and limited by the project's quota."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import uuid4

import pytest

from kairos.fine_tuning.adapters.adapters import (
    KEPT,
    AdapterCorrupt,
    AdapterFiles,
    AdapterMissing,
    QuotaFull,
    StoredAdapter,
)
from kairos.tenancy import ProjectId


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    folder = tmp_path / "run" / "adapter"
    folder.mkdir(parents=True)
    for name in KEPT:
        (folder / name).write_bytes(name.encode() * 100)
    return folder


@pytest.fixture
def project() -> ProjectId:
    return ProjectId(uuid4())


def test_adapter_is_stored_once_with_its_manifest(tmp_path: Path, trained: Path, project: ProjectId):
    files = AdapterFiles(tmp_path / "models", 10**6)
    stored = files.save(trained, project, "smol/../lm", 1, {"run": "r", "seed": 7})
    assert stored == files.save(trained, project, "smol/../lm", 1, {"run": "r", "seed": 8}), "a version never changes"
    assert stored.path == f"{project}/smol-..-lm/1"
    assert files.file(stored).read_bytes() == (trained / "adapter.gguf").read_bytes()
    assert '"seed": 7' in (files.file(stored).parent / "manifest.json").read_text()


def test_changed_file_is_refused(tmp_path: Path, trained: Path, project: ProjectId):
    files = AdapterFiles(tmp_path / "models", 10**6)
    stored = files.save(trained, project, "base", 1, {"run": "r"})
    path = files.file(stored)
    path.chmod(0o600)
    path.write_bytes(b"another model's")
    with pytest.raises(AdapterCorrupt, match="sha256"):
        files.file(stored)


def test_missing_or_foreign_path_is_refused(tmp_path: Path):
    files = AdapterFiles(tmp_path / "models", 10**6)
    with pytest.raises(AdapterMissing):
        files.file(StoredAdapter("p/base/1", "0", 0))
    with pytest.raises(AdapterCorrupt, match="outside"):
        files.file(StoredAdapter("../../etc", "0", 0))


def test_quota_is_separate_for_each_project(tmp_path: Path, trained: Path, project: ProjectId):
    size = sum((trained / name).stat().st_size for name in KEPT)
    files = AdapterFiles(tmp_path / "models", int(size * 1.5))
    first = files.save(trained, project, "base", 1, {"run": "r"})
    with pytest.raises(QuotaFull):
        files.save(trained, project, "base", 2, {"run": "s"})
    files.save(trained, ProjectId(uuid4()), "base", 1, {"run": "r"})
    files.delete(first)
    files.save(trained, project, "base", 2, {"run": "s"})


def test_incomplete_adapter_is_never_stored(tmp_path: Path, trained: Path, project: ProjectId):
    """As on a full disk: a part cannot be copied, and no folder of that version remains."""
    (trained / KEPT[-1]).unlink()
    os.symlink("/nonexistent", trained / KEPT[-1])
    with pytest.raises(OSError, match="No such file"):
        AdapterFiles(tmp_path / "models", 10**9).save(trained, project, "base", 1, {"run": "r"})
    assert not list((tmp_path / "models").rglob("1"))


def test_files_of_an_abandoned_run_are_replaced(tmp_path: Path, trained: Path, project: ProjectId):
    files = AdapterFiles(tmp_path / "models", 10**6)
    before = files.save(trained, project, "base", 1, {"run": "killed before its row was written"})
    (trained / "adapter.gguf").write_bytes(b"of the next run")
    after = files.save(trained, project, "base", 1, {"run": "the next"})
    assert after.path == before.path
    assert files.file(after).read_bytes() == b"of the next run"
