"""The master keys of an installation: from the environment, a mounted file, or a file in the data folder.

All three hold the same text: keys of 32 bytes in base64, newest first, separated by white space or commas; a line that
begins with `#` is a comment. All daemons of an installation need the same keys.
"""

from __future__ import annotations

import base64
import binascii
import logging
import os
import re
import secrets
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

from kairos import environment
from kairos.config import InvalidConfig, Settings
from kairos.encryption.envelope import Keyring, MasterKey
from kairos.text_files import NotUtf8, decode_text

log = logging.getLogger(__name__)

VARIABLE = "KAIROS_MASTER_KEY"
FILE = "master-keys"
"""Name of the file in the data folder."""
MOST_BYTES = 64 * 1024
MOST_KEYS = 100
HEAD = (
    "# Master keys of Kairos, newest first. They decrypt the keys of providers in the database: keep a copy in a safe\n"
    "# place, apart from the database's backups. Every daemon of this installation needs the same keys.\n"
)


class KeySource(StrEnum):
    """Where the master keys come from."""

    ENVIRONMENT = "environment"
    FILE = "file"
    """The file that `providers.master_key_file` names."""
    DATA_FOLDER = "data_folder"


class MasterKeys:
    """The master keys that this daemon has."""

    def __init__(self, settings: Settings) -> None:
        """Read the keys. Without a configured source, a first key is written to the data folder.

        Raises `InvalidConfig`.
        """
        given = environment.value(VARIABLE)
        named = settings.providers.master_key_file
        self._path = named or settings.data_dir / FILE
        if given is not None:
            self.source = KeySource.ENVIRONMENT
        else:
            self.source = KeySource.FILE if named else KeySource.DATA_FOLDER
        self.ring = parsed(given, f"environment {VARIABLE}") if given is not None else self._from_file()

    @property
    def place(self) -> str:
        """Where an operator finds the keys."""
        return f"the environment variable {VARIABLE}" if self.source is KeySource.ENVIRONMENT else str(self._path)

    def reread(self) -> bool:
        """Read the file again, because it may have got a new key. Returns whether the keys have changed.

        A file that cannot be read now leaves the keys as they are.
        """
        if self.source is KeySource.ENVIRONMENT:
            return False
        try:
            found = _read(self._path)
        except InvalidConfig as error:
            log.warning("the master keys are not read again: %s", error)
            return False
        changed = [key.id for key in found] != [key.id for key in self.ring]
        self.ring = found
        return changed

    def add(self) -> None:
        """Write a new key in front of the others in the data folder, and use it from now on. Raises `OSError`."""
        if self.source is not KeySource.DATA_FOLDER:
            raise ValueError("only keys in the data folder are made by Kairos")
        keys = [MasterKey.new(), *_read(self._path)]
        _write(self._path, keys)
        self.ring = Keyring(keys)

    def _from_file(self) -> Keyring:
        if self.source is KeySource.DATA_FOLDER and not os.path.lexists(self._path):
            try:
                _write(self._path, [MasterKey.new()], replace=False)
            except OSError as error:
                raise InvalidConfig(
                    source=self._path, problem=f"cannot be written: {error.strerror}", remedy="Check its permissions"
                ) from error
            log.info("a master key for stored provider keys was written to %s", self._path)
        return _read(self._path)


def parsed(text: str, source: str) -> Keyring:
    """The keys in a text. Raises `InvalidConfig`, whose message contains no part of the text."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    words = [word for word in re.split(r"[\s,]+", "\n".join(lines)) if word]
    if not words or len(words) > MOST_KEYS:
        raise _invalid(source, f"it has {len(words)} keys, not 1 to {MOST_KEYS}")
    return Keyring(_key(word, number, source) for number, word in enumerate(words, 1))


def shown(key: MasterKey) -> str:
    """The key as text."""
    return base64.urlsafe_b64encode(key.secret).decode()


def _key(word: str, number: int, source: str) -> MasterKey:
    try:
        return MasterKey(base64.b64decode(word.replace("-", "+").replace("_", "/"), validate=True))
    except (binascii.Error, ValueError):
        raise _invalid(source, f"key {number} is not 32 bytes in base64") from None


def _invalid(source: object, problem: str) -> InvalidConfig:
    remedy = "Use keys made by `openssl rand -base64 32`, newest first"
    return InvalidConfig(source=source, problem=problem, remedy=remedy)


def _read(path: Path) -> Keyring:
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise _invalid(path, f"it is larger than {MOST_BYTES} bytes")
        return parsed(decode_text(content), str(path))
    except NotUtf8:
        raise _invalid(path, "it is not text") from None
    except OSError as error:
        raise InvalidConfig(
            source=path,
            problem=f"the master keys cannot be read: {error.strerror}",
            remedy="Restore the file, or correct `providers.master_key_file`",
        ) from error


def _write(path: Path, keys: list[MasterKey], *, replace: bool = True) -> None:
    """Write the file atomically and durably, readable by this user only. Without `replace`, an existing one stays.

    Raises `OSError`.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(HEAD + "".join(f"{shown(key)}\n" for key in keys))
            file.flush()
            os.fsync(file.fileno())
        if replace:
            temporary.replace(path)
        else:
            with suppress(FileExistsError):
                os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
