"""The credentials file is used if possible; without it a session lasts for one command."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos.cli.credentials import CredentialFile, NotSaved, StoredCredential

ADDRESS = "http://127.0.0.1:8484"
CREDENTIAL = StoredCredential("access", "refresh", "project")


def test_session_is_saved_for_its_address_and_readable_only_by_its_owner(tmp_path: Path):
    file = CredentialFile(tmp_path / "kairos" / "credentials.json")
    file.put(ADDRESS, CREDENTIAL)
    file.put("http://other", StoredCredential("b", "c", None))
    assert CredentialFile(file.path).get(ADDRESS) == CREDENTIAL
    assert file.path is not None
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    file.remove(ADDRESS)
    assert (file.get(ADDRESS), file.get("http://other")) == (None, StoredCredential("b", "c", None))
    assert [found.name for found in file.path.parent.iterdir()] == ["credentials.json"]


@pytest.mark.parametrize(
    "content",
    [b"[]", b"", b"{", b"null", b"7", b'"x"', b"\xff\xfe\x00", b"[" * 100_000],
)
def test_damaged_file_is_set_aside(tmp_path: Path, content: bytes):
    path = tmp_path / "credentials.json"
    path.write_bytes(content)
    file = CredentialFile(path)
    assert file.get(ADDRESS) is None
    file.put(ADDRESS, CREDENTIAL)
    assert CredentialFile(path).get(ADDRESS) == CREDENTIAL
    assert (tmp_path / "credentials.json.damaged").read_bytes() == content


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["access_token", "refresh_token", "x"]), inner),
    max_leaves=6,
)


@given(JSON)
def test_any_entry_is_read_as_a_credential_or_none(tmp_path_factory: pytest.TempPathFactory, entry: object):
    path = tmp_path_factory.getbasetemp() / "credentials.json"
    path.write_text(json.dumps({ADDRESS: entry}))
    found = CredentialFile(path).get(ADDRESS)
    assert found is None or (found.access_token.isascii() and found.access_token.isprintable())


@pytest.mark.parametrize("token", ["", "a b", "a\nX-Evil: 1", "a\x00", "t\u00f6ken", "a\x7f", 7, None])
@pytest.mark.parametrize("name", ["access_token", "refresh_token"])
def test_token_that_is_not_a_valid_header_value_is_ignored(tmp_path: Path, name: str, token: object):
    path = tmp_path / "credentials.json"
    entry = {"access_token": "a", "refresh_token": "r", "project_id": None, name: token}
    path.write_text(json.dumps({ADDRESS: entry}))
    assert CredentialFile(path).get(ADDRESS) is None


@pytest.mark.parametrize("home", ["/dev/null", "/proc/1/x", "/proc/self/nowhere"])
def test_without_a_writable_home_a_session_lasts_for_the_command(home: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", home)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    file = CredentialFile()
    assert file.get(ADDRESS) is None
    with pytest.raises(NotSaved, match="XDG_CONFIG_HOME"):
        file.put(ADDRESS, CREDENTIAL)
    assert file.get(ADDRESS) == CREDENTIAL


def test_without_any_home_a_session_lasts_for_the_command(monkeypatch: pytest.MonkeyPatch):
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    file = CredentialFile()
    with pytest.raises(NotSaved, match="there is none"):
        file.put(ADDRESS, CREDENTIAL)
    assert file.get(ADDRESS) == CREDENTIAL
    with pytest.raises(NotSaved):
        file.remove(ADDRESS)
    assert file.get(ADDRESS) is None


def test_folder_in_place_of_the_file_is_set_aside(tmp_path: Path):
    (tmp_path / "credentials.json").mkdir()
    file = CredentialFile(tmp_path / "credentials.json")
    assert file.get(ADDRESS) is None
    file.put(ADDRESS, CREDENTIAL)
    assert CredentialFile(file.path).get(ADDRESS) == CREDENTIAL
