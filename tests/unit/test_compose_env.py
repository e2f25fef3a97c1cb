"""`scripts/compose_env.sh` writes the passwords for docker-compose.yml into a file."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMES = {"KAIROS_POSTGRES_PASSWORD", "KAIROS_OWNER_PASSWORD", "KAIROS_APP_PASSWORD", "KAIROS_SYSTEM_PASSWORD"}
NAMES |= {"KAIROS_REDIS_PASSWORD"}


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    script = ROOT / "scripts" / "compose_env.sh"
    return subprocess.run([script, *arguments], capture_output=True, text=True, check=False)


def values(file: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in file.read_text().splitlines() if line.strip())


def test_every_role_has_its_own_password_readable_only_by_the_owner(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    previous = os.umask(0)
    try:
        assert run(file).returncode == 0
    finally:
        os.umask(previous)
    made = values(file)
    assert set(made) == NAMES
    assert len(set(made.values())) == len(NAMES)
    assert all(len(value) == 48 and value.isalnum() for value in made.values())
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("kind", ["file", "link to nothing"])
def test_existing_file_is_not_changed(tmp_path: Path, kind: str) -> None:
    file = tmp_path / ".env"
    if kind == "file":
        file.write_text("MINE=1\n")
    else:
        file.symlink_to(tmp_path / "elsewhere")
    done = run(file)
    assert done.returncode == 1
    assert "--upgrade" in done.stderr
    assert not (tmp_path / "elsewhere").exists()
    assert kind != "file" or file.read_text() == "MINE=1\n"


def test_upgrade_adds_missing_passwords_and_explains_the_next_step(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("KAIROS_DB_PASSWORD=shared\nKAIROS_REDIS_PASSWORD=kept")
    done = run("--upgrade", file)
    assert done.returncode == 0, done.stderr
    assert set(values(file)) == NAMES | {"KAIROS_DB_PASSWORD"}
    assert values(file)["KAIROS_REDIS_PASSWORD"] == "kept"
    assert "roles.sh" in done.stdout
    before = file.read_text()
    assert "already has all passwords" in run("--upgrade", file).stdout
    assert file.read_text() == before


def test_compose_gives_no_role_the_password_of_another() -> None:
    """Each password in docker-compose.yml is used for one role."""
    compose = (ROOT / "docker-compose.yml").read_text()
    for role in ("app", "owner", "system"):
        assert f"kairos_{role}:${{KAIROS_{role.upper()}_PASSWORD}}@postgres" in compose
    assert "KAIROS_DB_PASSWORD}" not in compose


def test_roles_with_the_same_password_are_refused(tmp_path: Path) -> None:
    psql = tmp_path / "psql"
    psql.write_text("#!/bin/sh\necho started\n")
    psql.chmod(0o755)
    same = dict.fromkeys(NAMES - {"KAIROS_REDIS_PASSWORD"}, "shared")
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", **same}
    script = ["sh", ROOT / "deploy" / "compose" / "roles.sh"]
    done = subprocess.run(script, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "give each role its own" in done.stderr
    assert done.stdout == ""
