"""`seal` removes secrets from the daemon's environment, and `value` still returns them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from kairos import environment

SECRETS = {
    "MY_PROVIDER": "s3cret-1",
    "OPENAI_API_KEY": "s3cret-2",
    "KAIROS_DATABASE__URL": "s3cret-3",
    "SOME_PASSWORD": "s3cret-4",
    "GITHUB_TOKEN": "s3cret-5",
    "ELSEWHERE": "postgresql://me:s3cret-6@host/db",
    "HTTP_PROXY": "http://me:s3cret-7@proxy:1",
}
KEPT = {"HTTPS_PROXY": "http://proxy:1", "KAIROS_CONFIG": "/x/kairos.toml", "PLAIN": "plain"}
SEAL = """
import os, subprocess, sys
from kairos import environment
environment.seal(["MY_PROVIDER"])
print(sorted(name for name in NAMES if environment.value(name)))
print(sorted(name for name in NAMES if name in os.environ))
child = "import os; print(sorted(name for name in os.environ))"
print(subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=True).stdout.strip())
import ctypes
libc = ctypes.CDLL(None)
libc.getenv.restype = ctypes.c_char_p
print(libc.getenv(b"PLAIN"), libc.getenv(b"OPENAI_API_KEY"), libc.prctl(3, 0, 0, 0, 0))
print(repr(bytes(open("/proc/self/environ", "rb").read()).strip(b"\\0")) if os.geteuid() == 0 else "b''")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no /proc")
def test_sealed_process_does_not_expose_its_secrets():
    source = f"NAMES = {sorted({**SECRETS, **KEPT})!r}\n{SEAL}"
    given = {"PATH": os.environ["PATH"], **SECRETS, **KEPT}
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, env=given, check=True)
    found, left, inherited, native, first = done.stdout.splitlines()
    assert found == repr(sorted({**SECRETS, **KEPT})), "`value` returns all of them"
    assert left == repr(sorted(KEPT))
    assert not any(name in inherited for name in SECRETS)
    assert native == "b'plain' None 0", "libraries see only the kept variables, and the process is not dumpable"
    assert first == "b''", "the initial environment is erased"


def test_environment_is_read_directly_before_sealing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SOME_KEY", "one")
    assert environment.value("SOME_KEY") == "one"
    assert "SOME_KEY" in environment.names()
    monkeypatch.delenv("SOME_KEY")
    assert environment.value("SOME_KEY") is None
