"""Setup links and password resets: access to a new installation, and after every link and password is lost."""

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
async def empty_database(tmp_path: Path) -> AsyncIterator[Addresses]:
    """Engines with a database that has not been migrated."""
    async with engines_for_tests(tmp_path / "engines") as addresses:
        yield addresses


def links_in(log: str) -> list[str]:
    return re.findall(r"\S+/setup#\S+", log)


async def announced_links(daemon: DaemonProcess, starts: int = 1) -> list[str]:
    """Wait until this many starts have been announced in the log, and return all links in it."""
    await eventually(lambda: daemon.log.count("Kairos is ready") == starts, 20, "the start was announced")
    await eventually(lambda: daemon.log.endswith("\n"), 20, "the last line is complete")
    return links_in(daemon.log)


async def set_password(daemon: DaemonProcess, link: str) -> int:
    """Set the password with the token of a link and return the status code."""
    body = json.dumps({"token": link.partition("#")[2], "password": PASSWORD}).encode()
    request = Request(f"{daemon.client().address}/api/auth/setup", body, {"Content-Type": "application/json"})

    def send() -> int:
        try:
            with urlopen(request, timeout=20) as response:
                return response.status
        except HTTPError as error:
            return error.code

    return await asyncio.to_thread(send)


@pytest.mark.timeout(180)
async def test_each_daemon_prints_a_setup_link_until_a_password_is_set(
    empty_database: Addresses, tmp_path: Path
) -> None:
    daemons = [DaemonProcess(tmp_path / name, on_engines(empty_database)) for name in "abc"]
    try:
        await asyncio.gather(*(daemon.start(within_s=90) for daemon in daemons))
        printed = [link for daemon in daemons for link in await announced_links(daemon)]
        assert len(set(printed)) == 3
        assert sum(daemon.log.count("the database was migrated") for daemon in daemons) == 1

        await daemons[0].stop()
        await daemons[0].start()
        *_, new_link = await announced_links(daemons[0], 2)
        assert new_link not in printed

        assert await set_password(daemons[1], printed[2]) == 200, (
            "a link that another daemon printed before a restart is refused"
        )
        assert await set_password(daemons[1], printed[2]) == 401, "a link worked twice"

        await daemons[0].stop()
        await daemons[0].start()
        assert (await announced_links(daemons[0], 3))[-1] == new_link, "a link was printed although a password is set"
    finally:
        for daemon in daemons:
            if daemon.process.poll() is None:
                await daemon.stop()


@pytest.mark.timeout(120)
async def test_password_can_be_reset_by_command_without_a_session(empty_database: Addresses, tmp_path: Path) -> None:
    public = {"port": 0, "host": "0.0.0.0", "public_url": "https://kairos.example.org"}
    daemon = await DaemonProcess(tmp_path / "a", on_engines(empty_database, server=public)).start(within_s=90)
    try:
        (link,) = await announced_links(daemon)
        assert link.startswith("https://kairos.example.org/setup#")
        assert "0.0.0.0" not in daemon.log
        assert await set_password(daemon, link) == 200

        def kairos(*arguments: str):
            return asyncio.to_thread(command, daemon.folder, *arguments, KAIROS_CONFIG=str(daemon.config))

        answer = parsed(await kairos("user", "reset-password", "Admin@LOCALHOST", "--json"))
        assert answer["link"].startswith("https://kairos.example.org/reset#")
        assert await set_password(daemon, answer["link"]) == 200
        assert await set_password(daemon, answer["link"]) == 401
        assert not (daemon.folder / "config").exists(), "the command stored its session"

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
async def test_links_name_localhost_without_a_public_url(empty_database: Addresses, tmp_path: Path) -> None:
    settings = on_engines(empty_database, server={"port": 0, "host": "0.0.0.0"})
    daemon = await DaemonProcess(tmp_path / "a", settings).start(within_s=90)
    try:
        (link,) = await announced_links(daemon)
        address = daemon.client().address
        assert address.startswith("http://127.0.0.1:")
        assert link.startswith(f"http://localhost:{address.rpartition(':')[2]}/setup#")
    finally:
        await daemon.stop()
