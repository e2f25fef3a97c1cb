"""Adding models to `kairos.toml`. What stands in the file stays as it is, byte for byte: new tables go to its end."""

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
# The configuration of Kairos. What is not set here has its default; the environment stands above this file.
# Keys of providers do not belong here: `api_key_env` names the environment variable that holds one.
"""


def add_models(path: Path, models: Sequence[ModelSettings]) -> list[str]:
    """Add a `[[models]]` table for each, creating the file where there is none; the names that were added.

    All or none: on any error (`InvalidInput`, or `Conflict` when somebody else changed the file meanwhile) the file
    is as it was.
    """
    if not models:
        return []
    target = path.resolve()  # through a link to the file, so that the link stays one
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
            remedy="Check the rights on it and its folder",
        ) from error
    return [model.name for model in models]


def model_names(path: Path) -> set[str]:
    """The names of the models that the file has; none where there is no file. Raises `InvalidInput`."""
    content = _read(path.resolve(), path)
    return set() if content is None else _names(_parsed(_text(content, path), path), path)


def _read(target: Path, shown: Path) -> bytes | None:
    try:
        return target.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InvalidInput(
            where=shown, problem=f"it cannot be read: {error.strerror}", remedy="Check its path and rights"
        ) from error


def _text(content: bytes, path: Path) -> str:
    """As it stands, with its mark and its line ends: what is in the file stays byte for byte."""
    try:
        decode_text(content)
    except NotUtf8 as error:
        raise InvalidInput(where=path, problem=str(error), remedy="Save it as UTF-8") from None
    return content.decode("utf-8")


def _parsed(text: str, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text.lstrip(BYTE_ORDER_MARK))
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(
            where=path, problem=f"it is not valid TOML: {error}", remedy="Mend the line named"
        ) from error


def _refuse_duplicates(values: dict[str, Any], models: Sequence[ModelSettings], path: Path) -> None:
    taken = _names(values, path)
    for model in models:
        if model.name in taken:
            raise InvalidInput(
                where=path,
                problem=f"there is a model named {model.name!r} already",
                remedy="Give the new one another name, or remove the old one first",
            )
        taken.add(model.name)


def _names(values: dict[str, Any], path: Path) -> set[str]:
    found = values.get("models", [])
    if not isinstance(found, list) or not all(isinstance(model, dict) for model in found):
        raise InvalidInput(
            where=path, problem="`models` is no list of tables", remedy="Write each model as a [[models]] table"
        )
    return {name for model in found if isinstance(name := model.get("name"), str)}


def _addition(text: str, models: Sequence[ModelSettings]) -> str:
    """The new tables, in the file's own kind of line ends.

    At the end they are in nobody's way: `[[models]]` names its place from the root, whatever table comes before it.
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
    """The new models must read back as they are; what came before them is the old text itself."""
    try:
        found = tomllib.loads(after.lstrip(BYTE_ORDER_MARK))["models"]
    except tomllib.TOMLDecodeError as error:
        # `models = [...]` in brackets is a finished list: TOML lets no [[models]] follow it.
        raise InvalidInput(
            where=path,
            problem="`models = [...]` is a list in brackets, to which no table can be added",
            remedy="Write each of its models as a [[models]] table",
        ) from error
    if [ModelSettings(**model) for model in found[-len(models) :]] != list(models):
        raise InvalidInput(where=path, problem="the models cannot be written as TOML", remedy="Add them by hand")


def _replace(target: Path, before: bytes | None, after: bytes, shown: Path) -> None:
    """Put the new file in the old one's place in one step, with the same owner and mode."""
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        # Mode 0600 until the owner is right; a file that is new gets what the umask gives.
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666 if before is None else 0o600)
        with os.fdopen(descriptor, "wb") as file:
            if before is not None:
                _take_after(target, descriptor)
            file.write(after)
            file.flush()
            os.fsync(descriptor)
        if _read(target, shown) != before:
            raise Conflict(what=f"Adding models to {shown}", reason="it was changed meanwhile", remedy="Try again.")
        os.replace(draft, target)
    except BaseException:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def _take_after(model: Path, descriptor: int) -> None:
    """Owner and mode of the old file: one that root's `model scan` made unreadable would stop the daemon's start."""
    old, new = model.stat(), os.fstat(descriptor)
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        os.fchown(descriptor, old.st_uid, old.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(old.st_mode))


def _sync_folder(folder: Path) -> None:
    """Make the new name last. The file is in place by now, so a file system that cannot do this is no error."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
