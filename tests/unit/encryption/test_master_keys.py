"""The sources of master keys: environment, mounted file and data folder."""

from __future__ import annotations

import base64
import stat
from pathlib import Path

import pytest

from kairos import environment
from kairos.config import InvalidConfig, ProviderSettings, Settings
from kairos.encryption.envelope import MasterKey
from kairos.encryption.master_keys import FILE, VARIABLE, KeySource, MasterKeys, parsed, shown


def settings(folder: Path, file: Path | None = None) -> Settings:
    return Settings(data_dir=folder, providers=ProviderSettings(master_key_file=file))


def test_first_start_writes_a_key_that_only_this_user_reads(tmp_path: Path):
    keys = MasterKeys(settings(tmp_path))
    assert keys.source is KeySource.DATA_FOLDER
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    assert [key.id for key in MasterKeys(settings(tmp_path)).ring] == [key.id for key in keys.ring]


def test_added_key_encrypts_and_the_old_one_still_decrypts(tmp_path: Path):
    keys = MasterKeys(settings(tmp_path))
    before = keys.ring.seal(b"x", "row")
    keys.add()
    assert keys.ring.open(before, "row") == b"x"
    assert keys.ring.seal(b"x", "row").master_key != before.master_key
    assert MasterKeys(settings(tmp_path)).ring.open(before, "row") == b"x"
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600


def test_environment_takes_precedence_and_no_file_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    one, two = MasterKey.new(), MasterKey.new()
    monkeypatch.setenv(VARIABLE, f"{shown(one)},{base64.b64encode(two.secret).decode()}")
    keys = MasterKeys(settings(tmp_path))
    assert (keys.source, [key.id for key in keys.ring]) == (KeySource.ENVIRONMENT, [one.id, two.id])
    assert not (tmp_path / FILE).exists()


def test_sealed_environment_still_has_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    key = MasterKey.new()
    monkeypatch.setitem(environment._sealed, VARIABLE, shown(key))
    assert environment._is_secret(VARIABLE, "x"), "the variable is removed from the environment of children"
    assert MasterKeys(settings(tmp_path)).ring.newest.id == key.id


def test_mounted_file_is_read_again_after_a_change(tmp_path: Path):
    old, new = MasterKey.new(), MasterKey.new()
    file = tmp_path / "mounted"
    file.write_text(f"# newest first\n{shown(old)}\n")
    keys = MasterKeys(settings(tmp_path, file))
    assert (keys.source, keys.reread()) == (KeySource.FILE, False)
    file.write_text(f"{shown(new)}\n{shown(old)}\n")
    assert keys.reread()
    assert [key.id for key in keys.ring] == [new.id, old.id]
    file.unlink()
    assert not keys.reread(), "a file that is replaced right now leaves the keys as they are"
    assert len(list(keys.ring)) == 2


@pytest.mark.parametrize("text", ["", "# only a comment", "short", "a" * 44, "!!!", "x " * 200, "ключ"])
def test_invalid_keys_are_refused_without_repeating_them(text: str):
    with pytest.raises(InvalidConfig) as caught:
        parsed(text, "here")
    assert "openssl rand -base64 32" in str(caught.value)
    assert not text.strip() or text not in str(caught.value)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"x" * 100_000, None])
def test_unreadable_file_is_an_error_of_the_configuration(tmp_path: Path, content: bytes | None):
    file = tmp_path / "keys"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InvalidConfig, match="keys"):
        MasterKeys(settings(tmp_path, file))
