"""If the embedded model cannot be loaded, banner, readiness and status report the cause."""

from __future__ import annotations

from pathlib import Path

import pytest

from kairos.embedded import Addresses
from tests.kit.conditions import eventually
from tests.kit.daemon_process import DaemonProcess, command, on_engines, parsed

MISSING = "libgomp.so.1: cannot open shared object file: No such file or directory"


@pytest.mark.timeout(120)
async def test_missing_system_library_is_reported_by_banner_readiness_and_status(
    addresses: Addresses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The module is installed but its import fails, as in an image without libgomp1."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "xllamacpp.py").write_text(f"raise ImportError({MISSING!r})\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "modules"))
    daemon = DaemonProcess(tmp_path / "a", on_engines(addresses, embedded={"model": True}))
    await daemon.start(within_s=90)
    try:
        await eventually(lambda: "Kairos is ready" in daemon.log, 20, "the start was announced")
        banner = daemon.log[daemon.log.index("Kairos is ready") :]
        assert "degraded embedded model: failed" in banner
        assert MISSING in banner
        assert "apt-get install libgomp1" in banner

        ready = await daemon.ask("GET", "/api/health/ready")
        assert ready["status"] == "degraded"
        assert MISSING in ready["parts"]["embedded model"]["detail"]
        status = parsed(command(daemon.folder, "status", "--json", KAIROS_CONFIG=str(daemon.config)))
        assert status["parts"]["embedded model"]["state"] == "degraded"
    finally:
        await daemon.stop()
