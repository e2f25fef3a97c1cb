"""Add models to `kairos.toml`. New tables are appended; the existing content is kept byte for byte."""

from __future__ import annotations

import os
import secrets
import stat
import tomllib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.items import Table

from kairos.config import ModelSettings
from kairos.errors import Conflict, InvalidInput
from kairos.text_files import BYTE_ORDER_MARK, NotUtf8, decode_text

HEADER = """\
# The configuration of Kairos. Keys that are not set here have their defaults; the environment overrides this file.
# Do not put API keys of providers here: `api_key_env` names the environment variable that holds one.
"""


def add_models(path: Path, models: Sequence[ModelSettings]) -> list[str]:
    """Add a `[[models]]` table for each model, create the file if needed, and return the names that were added.

    On any error the file is unchanged. Raises `InvalidInput`, and `Conflict` if the file was changed concurrently.
    """
    if not models:
        return []
    target = path.resolve()  # follow a symlink, so that it is not replaced
    before = _read(target, path)
    text = HEADER if before is None else _text(before, path)
    values = _parsed(text, path)
    _refuse_duplicates(values, models, path)
    after = text + _addition(text, models)
    _check(after, models, path)
    try:
        _replace(target, before, after.encode(), path)
    except OSError as error:
        raise InvalidInput(
            where=path,
            problem=f"it cannot be written: {error.strerror or error}",
            remedy="Check the permissions of the file and its folder",
        ) from error
    return [model.name for model in models]


def model_names(path: Path) -> set[str]:
    """The names of the models in the file; empty if there is no file. Raises `InvalidInput`."""
    content = _read(path.resolve(), path)
    return set() if content is None else _names(_parsed(_text(content, path), path), path)


def _read(target: Path, shown: Path) -> bytes | None:
    try:
        return target.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InvalidInput(
            where=shown, problem=f"it cannot be read: {error.strerror}", remedy="Check its path and permissions"
        ) from error


def _text(content: bytes, path: Path) -> str:
    """The text with its byte order mark and line ends, so that the existing content can be kept byte for byte."""
    try:
        decode_text(content)
    except NotUtf8 as error:
        raise InvalidInput(where=path, problem=str(error), remedy="Save it as UTF-8") from None
    return content.decode("utf-8")


def _parsed(text: str, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text.lstrip(BYTE_ORDER_MARK))
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(where=path, problem=f"it is not valid TOML: {error}", remedy="Fix this line") from error


def _refuse_duplicates(values: dict[str, Any], models: Sequence[ModelSettings], path: Path) -> None:
    taken = _names(values, path)
    for model in models:
        if model.name in taken:
            raise InvalidInput(
                where=path,
                problem=f"there is already a model named {model.name!r}",
                remedy="Give the new model another name, or remove the old one first",
            )
        taken.add(model.name)


def _names(values: dict[str, Any], path: Path) -> set[str]:
    found = values.get("models", [])
    if not isinstance(found, list) or not all(isinstance(model, dict) for model in found):
        raise InvalidInput(
            where=path, problem="`models` is not a list of tables", remedy="Write each model as a [[models]] table"
        )
    return {name for model in found if isinstance(name := model.get("name"), str)}


def _addition(text: str, models: Sequence[ModelSettings]) -> str:
    """The new tables, with the line ends of the file.

    Appending is safe: `[[models]]` is an absolute name in TOML, independent of the table before it.
    """
    tables = "\n".join(f"[[models]]\n{tomlkit.dumps(_table(model))}" for model in models)
    gap = "" if not text else "\n" if text.endswith("\n") else "\n\n"
    lines = gap + tables
    return lines.replace("\n", "\r\n") if "\r\n" in text else lines


def _table(model: ModelSettings) -> Table:
    table = tomlkit.table()
    for key, value in model.model_dump(mode="json", exclude_defaults=True).items():
        item = tomlkit.item(value)
        if isinstance(value, dict):
            item = tomlkit.inline_table()
            item.update(value)
        table.add(key, item)
    return table


def _check(after: str, models: Sequence[ModelSettings], path: Path) -> None:
    """Raise `InvalidInput` unless the new text parses and contains the new models unchanged."""
    try:
        found = tomllib.loads(after.lstrip(BYTE_ORDER_MARK))["models"]
    except tomllib.TOMLDecodeError as error:
        # TOML does not allow [[models]] after an inline `models = [...]`.
        raise InvalidInput(
            where=path,
            problem="`models = [...]` is an inline list, to which no table can be added",
            remedy="Write each of its models as a [[models]] table",
        ) from error
    if [ModelSettings(**model) for model in found[-len(models) :]] != list(models):
        raise InvalidInput(where=path, problem="the models cannot be written as TOML", remedy="Add them by hand")


def _replace(target: Path, before: bytes | None, after: bytes, shown: Path) -> None:
    """Replace the file atomically, with the same owner and mode."""
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        # Mode 0600 until the owner is set; a new file gets the mode that the umask allows.
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666 if before is None else 0o600)
        with os.fdopen(descriptor, "wb") as file:
            if before is not None:
                _copy_ownership(target, descriptor)
            file.write(after)
            file.flush()
            os.fsync(descriptor)
        if _read(target, shown) != before:
            raise Conflict(
                what=f"Adding models to {shown}", reason="the file was changed meanwhile", remedy="Try again."
            )
        os.replace(draft, target)
    except BaseException:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def _copy_ownership(model: Path, descriptor: int) -> None:
    """Copy owner and mode of the old file; else `model scan`, run as root, would make it unreadable for the daemon."""
    old, new = model.stat(), os.fstat(descriptor)
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        os.fchown(descriptor, old.st_uid, old.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(old.st_mode))


def _sync_folder(folder: Path) -> None:
    """Flush the directory entry to disk. Errors are ignored: the file is in place, and some systems cannot flush it."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
