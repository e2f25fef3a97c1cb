"""How somebody gets into a new Kairos, and back in after every link and password is lost."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from kairos.embedded import Addresses
from tests.kit.conditions import eventually
from tests.kit.daemon_process import DaemonProcess, command, on_engines, parsed
from tests.kit.engines import engines_for_tests

PASSWORD = "correct horse battery staple"


@pytest.fixture
async def empty(tmp_path: Path) -> AsyncIterator[Addresses]:
    """Engines with a database that was never migrated."""
    async with engines_for_tests(tmp_path / "engines") as found:
        yield found


def links_in(log: str) -> list[str]:
    return re.findall(r"\S+/setup#\S+", log)


async def announced(daemon: DaemonProcess, starts: int = 1) -> list[str]:
    """All links in its log, once it has printed what it prints at the end of this many starts."""
    await eventually(lambda: daemon.log.count("Kairos is ready") == starts, 20, "the start was announced")
    await eventually(lambda: daemon.log.endswith("\n"), 20, "the last line is whole")
    return links_in(daemon.log)


async def set_password(daemon: DaemonProcess, link: str) -> int:
    """The status of setting the password with the link's token."""
    body = json.dumps({"token": link.partition("#")[2], "password": PASSWORD}).encode()
    request = Request(f"{daemon.client().address}/api/auth/setup", body, {"Content-Type": "application/json"})

    def ask() -> int:
        try:
            with urlopen(request, timeout=20) as answer:
                return answer.status
        except HTTPError as error:
            return error.code

    return await asyncio.to_thread(ask)


@pytest.mark.timeout(180)
async def test_each_of_three_daemons_prints_a_link_that_works_until_a_password_is_set(
    empty: Addresses, tmp_path: Path
) -> None:
    daemons = [DaemonProcess(tmp_path / name, on_engines(empty)) for name in "abc"]
    try:
        await asyncio.gather(*(daemon.start(within_s=90) for daemon in daemons))
        printed = [link for daemon in daemons for link in await announced(daemon)]
        assert len(set(printed)) == 3
        assert sum(daemon.log.count("the database was migrated") for daemon in daemons) == 1

        await daemons[0].stop()
        await daemons[0].start()
        *_, fresh = await announced(daemons[0], 2)
        assert fresh not in printed

        assert await set_password(daemons[1], printed[2]) == 200, "a link of another daemon, from before a restart"
        assert await set_password(daemons[1], printed[2]) == 401, "a link works once"

        await daemons[0].stop()
        await daemons[0].start()
        assert (await announced(daemons[0], 3))[-1] == fresh, "no link is printed once a password is set"
    finally:
        for daemon in daemons:
            if daemon.process.poll() is None:
                await daemon.stop()


@pytest.mark.timeout(120)
async def test_whoever_holds_the_machine_resets_a_password_whoever_is_signed_in(
    empty: Addresses, tmp_path: Path
) -> None:
    public = {"port": 0, "host": "0.0.0.0", "public_url": "https://kairos.example.org"}
    daemon = await DaemonProcess(tmp_path / "a", on_engines(empty, server=public)).start(within_s=90)
    try:
        (link,) = await announced(daemon)
        assert link.startswith("https://kairos.example.org/setup#")
        assert "0.0.0.0" not in daemon.log
        assert await set_password(daemon, link) == 200

        def kairos(*arguments: str):
            return asyncio.to_thread(command, daemon.folder, *arguments, KAIROS_CONFIG=str(daemon.config))

        answer = parsed(await kairos("user", "reset-password", "Admin@LOCALHOST", "--json"))
        assert answer["link"].startswith("https://kairos.example.org/reset#")
        assert await set_password(daemon, answer["link"]) == 200
        assert await set_password(daemon, answer["link"]) == 401
        assert not (daemon.folder / "config").exists(), "the session of that command is saved nowhere"

        printed = (await kairos("user", "reset-password", "admin@localhost")).stdout
        assert re.fullmatch(r"https://kairos\.example\.org/reset#\S+\n", printed)
        unknown = await kairos("user", "reset-password", "nobody@localhost")
        assert unknown.returncode == 4
        assert "nobody@localhost" in unknown.stderr
        users = parsed(await kairos("user", "list", "--json"))
        assert [user["email"] for user in users] == ["admin@localhost"]
        entries = await daemon.ask("GET", "/api/audit?system=true")
        assert [entry["action"] for entry in entries["items"]].count("password.reset_link") == 2
    finally:
        await daemon.stop()


@pytest.mark.timeout(120)
async def test_without_a_public_address_links_name_localhost(empty: Addresses, tmp_path: Path) -> None:
    settings = on_engines(empty, server={"port": 0, "host": "0.0.0.0"})
    daemon = await DaemonProcess(tmp_path / "a", settings).start(within_s=90)
    try:
        (link,) = await announced(daemon)
        address = daemon.client().address
        assert address.startswith("http://127.0.0.1:")
        assert link.startswith(f"http://localhost:{address.rpartition(':')[2]}/setup#")
    finally:
        await daemon.stop()
