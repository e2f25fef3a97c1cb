"""Store the sessions of the command line in one file per user, mode 0600, with an entry for each address."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kairos.errors import KairosError

DAMAGED = ".damaged"


class NotSaved(KairosError):
    """The session cannot be saved in {path}: {reason}. Set XDG_CONFIG_HOME to a writable folder."""

    status, code, exit_code = 500, "not_saved", 1


@dataclass(frozen=True, slots=True)
class StoredCredential:
    """A session at one address, and its active project."""

    access_token: str
    refresh_token: str
    project_id: str | None


class CredentialFile:
    """The file `$XDG_CONFIG_HOME/kairos/credentials.json`.

    If it cannot be written (no home folder, a read-only disk), changes are kept in memory until the command ends, and
    `put` and `remove` raise `NotSaved`. A file that cannot be parsed is renamed with the suffix `.damaged` at the next
    change.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or _usual_path()
        self._unsaved: dict[str, StoredCredential | None] = {}

    def get(self, address: str) -> StoredCredential | None:
        if address in self._unsaved:
            return self._unsaved[address]
        return _credential(self._read().get(address))

    def put(self, address: str, credential: StoredCredential) -> None:
        """Save a credential. Raises `NotSaved`."""
        self._change(address, credential)

    def remove(self, address: str) -> None:
        """Remove a credential. Raises `NotSaved`."""
        if self.get(address) is not None:
            self._change(address, None)

    def _change(self, address: str, credential: StoredCredential | None) -> None:
        self._unsaved[address] = credential
        entries = {known: entry for known, entry in self._read().items() if known != address}
        if credential:
            entries[address] = asdict(credential)
        self._write(entries)
        del self._unsaved[address]

    def _read(self) -> dict[str, Any]:
        with suppress(OSError, ValueError, RecursionError):
            entries = json.loads(self.path.read_bytes()) if self.path else {}
            return entries if isinstance(entries, dict) else {}
        return {}

    def _write(self, entries: Mapping[str, Any]) -> None:
        """Replace the file atomically, so that concurrent commands cannot mix their contents."""
        if self.path is None:
            raise NotSaved(path="your home folder", reason="there is none")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._rename_damaged()
            descriptor, name = tempfile.mkstemp(dir=self.path.parent)  # mkstemp makes it 0600
            try:
                with os.fdopen(descriptor, "w") as file:
                    json.dump(entries, file, indent=2)
                os.replace(name, self.path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except (OSError, ValueError) as error:
            raise NotSaved(path=self.path, reason=getattr(error, "strerror", None) or error) from None

    def _rename_damaged(self) -> None:
        """Keep a file that is not a valid credentials file under another name."""
        assert self.path is not None
        try:
            if isinstance(json.loads(self.path.read_bytes()), dict):
                return
        except FileNotFoundError:
            return
        except (OSError, ValueError, RecursionError):
            pass
        with suppress(OSError):
            self.path.rename(self.path.with_name(self.path.name + DAMAGED))


def _usual_path() -> Path | None:
    """The default path; None if the user has no home folder."""
    try:
        home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    except RuntimeError:
        return None
    return home / "kairos" / "credentials.json"


def _credential(entry: Any) -> StoredCredential | None:
    """The credential of a valid entry, whose tokens can be sent in a header; None otherwise."""
    if not isinstance(entry, dict):
        return None
    access, refresh, project = (entry.get(name) for name in ("access_token", "refresh_token", "project_id"))
    if not (_token(access) and _token(refresh) and (project is None or isinstance(project, str))):
        return None
    return StoredCredential(str(access), str(refresh), project)


def _token(value: Any) -> bool:
    return isinstance(value, str) and value.isascii() and value.isprintable() and " " not in value and value != ""
