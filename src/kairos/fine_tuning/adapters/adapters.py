"""Adapter files: versioned, immutable, and verified by hash before they are served.

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
PEFT = ("adapter_model.safetensors", "adapter_config.json")
"""The files that vLLM loads."""
KEPT = (GGUF, *PEFT)
NOT_A_NAME = re.compile(r"[^A-Za-z0-9._-]+")


class AdapterCorrupt(KairosError):
    """The adapter {path} was modified after training: {reason}. It is not served. Train it again, or restore the file
    from a backup."""

    status, code, exit_code = 409, "adapter_corrupt", 5


class AdapterMissing(KairosError):
    """The files of the adapter {path} are not on this machine. Share the folder of models between replicas
    (`fine_tuning.folder`), or train it again."""

    status, code, exit_code = 409, "adapter_missing", 5


class QuotaFull(KairosError):
    """The project's adapters would take {used} MB of {limit} MB. Delete old ones: `kairos adapter delete`."""

    status, code, exit_code = 409, "adapter_quota", 5


class DiskFull(KairosError):
    """The disk of {folder} is full. Free some space and start the run again to resume it."""

    status, code, exit_code = 507, "disk_full", 3


@dataclass(frozen=True, slots=True)
class StoredAdapter:
    """An adapter's files."""

    path: str
    """The adapter's folder, relative to the folder of adapters."""
    sha256: str
    bytes: int


class AdapterFiles:
    """The adapters in one models folder."""

    def __init__(self, models: Path, quota_bytes: int) -> None:
        self._root = models / "lora_adapters"
        self._quota_bytes = quota_bytes

    def save(
        self, trained: Path, project_id: ProjectId, base: str, version: int, manifest: Mapping[str, Any]
    ) -> StoredAdapter:
        """Save a trained adapter atomically. Idempotent for the same run; files of an abandoned run are replaced. The
        caller ensures unique versions.

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
        """Return the GGUF file, verified by hash. Raises `AdapterMissing`, `AdapterCorrupt`."""
        path = self.path(stored)
        if not path.exists():
            raise AdapterMissing(path=stored.path)
        found = sha256_of(path)
        if found != stored.sha256:
            raise AdapterCorrupt(path=stored.path, reason=f"its sha256 is {found}, expected {stored.sha256}")
        return path

    def check(self, stored: StoredAdapter, hashes: Mapping[str, str]) -> None:
        """Verify other files of the adapter by their sha256. Raises `AdapterMissing`, `AdapterCorrupt`."""
        folder = self.path(stored).parent
        for name, expected in hashes.items():
            if not (folder / name).exists():
                raise AdapterMissing(path=stored.path)
            found = sha256_of(folder / name)
            if found != expected:
                raise AdapterCorrupt(path=stored.path, reason=f"the sha256 of {name} is {found}, expected {expected}")

    def path(self, stored: StoredAdapter) -> Path:
        """Return the path of the GGUF file. Raises `AdapterCorrupt`."""
        path = (self._root / stored.path / GGUF).resolve()
        if not path.is_relative_to(self._root.resolve()):
            raise AdapterCorrupt(path=stored.path, reason="it is outside the folder of adapters")
        return path

    def delete(self, stored: StoredAdapter) -> None:
        """Delete an adapter's files, if they exist."""
        shutil.rmtree(self._root / stored.path, ignore_errors=True)

    def delete_project(self, project_id: ProjectId) -> None:
        """Delete the files of all adapters and runs of a project."""
        for folder in (self._root / str(project_id), runs_of(self._root.parent, project_id)):
            shutil.rmtree(folder, ignore_errors=True)

    def used(self, project_id: ProjectId) -> int:
        """Return the size of all adapters of a project in bytes."""
        return sum(path.stat().st_size for path in (self._root / str(project_id)).rglob("*") if path.is_file())

    def _check_quota(self, project_id: ProjectId, trained: Path) -> None:
        more = sum((trained / name).stat().st_size for name in KEPT)
        used = self.used(project_id)
        if used + more > self._quota_bytes:
            raise QuotaFull(used=(used + more) // 2**20, limit=self._quota_bytes // 2**20)


def runs_of(models: Path, project_id: ProjectId) -> Path:
    """Return the folder of a project's active runs, with examples and checkpoints."""
    return models / "runs" / str(project_id)


def _run_of(folder: Path) -> object:
    """Return the run whose complete adapter the folder contains, or None."""
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
            with contextlib.suppress(PermissionError):  # not all file systems support modes
                path.chmod(0o440)
        os.replace(part, folder)
    except OSError:
        shutil.rmtree(part, ignore_errors=True)
        raise


def sha256_of(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def safe_name(name: str) -> str:
    """Return a name that is safe in a path: letters, digits, dots, dashes and underscores, never a parent folder."""
    return NOT_A_NAME.sub("-", name).strip(".-") or "base"
