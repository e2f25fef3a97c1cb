"""Who the command line is signed in as: one file of the user's, mode 0600, an entry for each address."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Credential:
    """A session at one address, and the project that commands act in."""

    access_token: str
    refresh_token: str
    project_id: str | None


class CredentialFile:
    """`$XDG_CONFIG_HOME/kairos/credentials.json`."""

    def __init__(self, path: Path | None = None) -> None:
        home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
        self.path = path or home / "kairos" / "credentials.json"

    def get(self, address: str) -> Credential | None:
        entry = self._read().get(address)
        return Credential(**entry) if entry else None

    def put(self, address: str, credential: Credential) -> None:
        self._write({**self._read(), address: asdict(credential)})

    def forget(self, address: str) -> None:
        self._write({known: entry for known, entry in self._read().items() if known != address})

    def _read(self) -> dict[str, dict[str, str]]:
        try:
            return json.loads(self.path.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return {}

    def _write(self, entries: dict[str, object]) -> None:
        """Replaced as a whole, so that two commands at once leave one of the two and never a mixture."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, name = tempfile.mkstemp(dir=self.path.parent)  # mkstemp makes it 0600
        with os.fdopen(descriptor, "w") as file:
            json.dump(entries, file, indent=2)
        os.replace(name, self.path)
