"""The data folder may have any name that the file system permits."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.daemon_process import DaemonProcess, command, parsed

NAMES = ["with a space", """it's a "quoted" back\\slash\\x41, 50 % {x} $HOME `id` şğı-漢字 #;=,:@"""]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that PostgreSQL's user can access if the tests run as root, so that its data is stored inside."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.parametrize("name", NAMES)
async def test_engines_work_in_a_folder_of_any_name(open_folder: Path, name: str):
    daemon = await DaemonProcess(open_folder / name, {"embedded": {"model": False}}).start(within_s=90)
    try:
        done = command(open_folder, "task", "list", "--json", KAIROS_CONFIG=str(daemon.config))
        assert parsed(done)["items"] == []
        assert (daemon.folder / "data" / "valkey" / "appendonlydir").is_dir(), "Valkey wrote to another folder"
    finally:
        assert await daemon.stop() == 0
