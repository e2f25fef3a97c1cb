"""Adapters on the disk: versioned, never changed, checked by hash before they are served.

<models>/lora_adapters/<project>/<base>/<version>/
    adapter.gguf  adapter_model.safetensors  adapter_config.json  manifest.json
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kairos.errors import KairosError
from kairos.tenancy import ProjectId

GGUF = "adapter.gguf"
MANIFEST = "manifest.json"
KEPT = (GGUF, "adapter_model.safetensors", "adapter_config.json")
NOT_A_NAME = re.compile(r"[^A-Za-z0-9._-]+")


class AdapterCorrupt(KairosError):
    """The adapter {path} is not the one that was trained: {reason}. It is not served. Train it again, or put the file
    back from a backup."""

    status, code, exit_code = 409, "adapter_corrupt", 5


class AdapterMissing(KairosError):
    """The files of the adapter {path} are not on this machine. Share the folder of models between replicas
    (`fine_tuning.folder`), or train it again."""

    status, code, exit_code = 409, "adapter_missing", 5


class QuotaFull(KairosError):
    """The project's adapters take {used} MB of the {limit} MB they may. Delete old ones: `kairos adapter delete`."""

    status, code, exit_code = 409, "adapter_quota", 5


class DiskFull(KairosError):
    """The disk that holds {folder} is full. Free some space and start the run again: it goes on where it was."""

    status, code, exit_code = 507, "disk_full", 3


@dataclass(frozen=True, slots=True)
class StoredAdapter:
    """An adapter's files."""

    path: str
    """Of its folder, below that of models."""
    sha256: str
    bytes: int


class AdapterFiles:
    """The adapters below one folder of models."""

    def __init__(self, models: Path, quota_bytes: int) -> None:
        self._root = models / "lora_adapters"
        self._quota_bytes = quota_bytes

    def save(
        self, trained: Path, project_id: ProjectId, base: str, version: int, manifest: Mapping[str, Any]
    ) -> StoredAdapter:
        """Take over a trained adapter. Kept twice for the same run, it is the same; nothing half stands under its name,
        and what an abandoned run left there goes. The caller gives no version away twice.

        Raises `QuotaFull`, `DiskFull`.
        """
        folder = self._root / str(project_id) / safe_name(base) / str(version)
        if _run_of(folder) != manifest["run"]:
            shutil.rmtree(folder, ignore_errors=True)
            self._check_quota(project_id, trained)
            try:
                _copy(trained, folder, manifest)
            except OSError as error:
                raise DiskFull(folder=self._root) from error
        file = folder / GGUF
        size = sum(part.stat().st_size for part in folder.iterdir())
        return StoredAdapter(folder.relative_to(self._root).as_posix(), sha256_of(file), size)

    def file(self, stored: StoredAdapter) -> Path:
        """The GGUF file, found as it was trained. Raises `AdapterMissing`, `AdapterCorrupt`."""
        path = self.path(stored)
        if not path.exists():
            raise AdapterMissing(path=stored.path)
        found = sha256_of(path)
        if found != stored.sha256:
            raise AdapterCorrupt(path=stored.path, reason=f"its sha256 is {found}, expected was {stored.sha256}")
        return path

    def path(self, stored: StoredAdapter) -> Path:
        """Where the GGUF file should be. Raises `AdapterCorrupt`."""
        path = (self._root / stored.path / GGUF).resolve()
        if not path.is_relative_to(self._root.resolve()):
            raise AdapterCorrupt(path=stored.path, reason="it lies outside the folder of adapters")
        return path

    def delete(self, stored: StoredAdapter) -> None:
        """Its files; twice is once."""
        shutil.rmtree(self._root / stored.path, ignore_errors=True)

    def delete_project(self, project_id: ProjectId) -> None:
        """All its adapters, and what its runs have not cleared away."""
        for folder in (self._root / str(project_id), runs_of(self._root.parent, project_id)):
            shutil.rmtree(folder, ignore_errors=True)

    def used(self, project_id: ProjectId) -> int:
        """Bytes of all adapters of a project."""
        return sum(path.stat().st_size for path in (self._root / str(project_id)).rglob("*") if path.is_file())

    def _check_quota(self, project_id: ProjectId, trained: Path) -> None:
        more = sum((trained / name).stat().st_size for name in KEPT)
        used = self.used(project_id)
        if used + more > self._quota_bytes:
            raise QuotaFull(used=(used + more) // 2**20, limit=self._quota_bytes // 2**20)


def runs_of(models: Path, project_id: ProjectId) -> Path:
    """Below it lies what a project's runs need while they go on: examples, checkpoints."""
    return models / "runs" / str(project_id)


def _run_of(folder: Path) -> object:
    """Whose adapter the folder holds; None where it holds none that is whole."""
    try:
        return json.loads((folder / MANIFEST).read_text())["run"]
    except (OSError, ValueError, KeyError):
        return None


def _copy(trained: Path, folder: Path, manifest: Mapping[str, Any]) -> None:
    part = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        for name in KEPT:
            shutil.copyfile(trained / name, part / name)
        (part / MANIFEST).write_text(json.dumps(manifest, indent=2, default=str))
        for path in part.iterdir():
            with contextlib.suppress(PermissionError):  # some file systems have modes of their own
                path.chmod(0o440)
        os.replace(part, folder)
    except OSError:
        shutil.rmtree(part, ignore_errors=True)
        raise


def sha256_of(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def safe_name(name: str) -> str:
    """A name as part of a path: letters, digits, dots, dashes and underscores, never a parent folder."""
    return NOT_A_NAME.sub("-", name).strip(".-") or "base"
