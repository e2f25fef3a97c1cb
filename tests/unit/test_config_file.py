"""Adding models to kairos.toml preserves the existing bytes and is atomic."""

from __future__ import annotations

import json
import os
import stat
import string
import tempfile
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos import config, config_file
from kairos.config import ModelSettings, PriceSettings
from kairos.errors import Conflict, InvalidInput

LLAMA = ModelSettings(
    name="ollama/llama3.2:3b", upstream="llama3.2:3b", base_url="http://127.0.0.1:11434/v1", local=True
)
GPT = ModelSettings(
    name="openai/gpt-5-mini",
    upstream="gpt-5-mini",
    base_url="https://api.openai.com/v1",
    api_key_env="OPENAI_API_KEY",
    price=PriceSettings(input=0.25, output=2.0),
    context=400_000,
    specialties=["code"],
    tier=0.7,
    capabilities=["tools"],
    runner="one",
)
FILE = """\
# ours   (two  spaces)
log_level = "debug" # why

[[models]]
name = "first" # the first one
base_url = "http://127.0.0.1:1/v1"

[router] # after the models
lambda_cost = 0.2
# the end"""


def written(folder: Path, text: str = FILE) -> Path:
    path = folder / "kairos.toml"
    path.write_bytes(text.encode())
    return path


def test_byte_order_mark_stays_before_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "\ufeff" + FILE.replace("\n", "\r\n"))
    assert config_file.add_models(path, [LLAMA]) == [LLAMA.name]
    assert path.read_bytes().startswith(("\ufeff" + FILE.replace("\n", "\r\n")).encode())
    assert config_file.model_names(path) == {"first", LLAMA.name}
    assert [model.name for model in config.load(path).models] == ["first", LLAMA.name]


def test_models_are_added_and_the_rest_stays(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert config_file.add_models(path, [LLAMA, GPT]) == [LLAMA.name, GPT.name]
    text = path.read_text()
    assert text.startswith(FILE)
    assert text[len(FILE) :] == (
        "\n\n[[models]]\n"
        'name = "ollama/llama3.2:3b"\n'
        'upstream = "llama3.2:3b"\n'
        'base_url = "http://127.0.0.1:11434/v1"\n'
        "local = true\n"
        "\n[[models]]\n"
        'name = "openai/gpt-5-mini"\n'
        'upstream = "gpt-5-mini"\n'
        'base_url = "https://api.openai.com/v1"\n'
        'api_key_env = "OPENAI_API_KEY"\n'
        "price = {input = 0.25, output = 2.0}\n"
        "context = 400000\n"
        'specialties = ["code"]\n'
        "tier = 0.7\n"
        'capabilities = ["tools"]\n'
        'runner = "one"\n'
    )
    settings = config.load(path)
    assert settings.models[1:] == [LLAMA, GPT]
    assert settings.router.lambda_cost == 0.2
    assert config_file.model_names(path) == {"first", LLAMA.name, GPT.name}


def test_missing_file_is_created(tmp_path: Path) -> None:
    path = tmp_path / "kairos.toml"
    assert config_file.model_names(path) == set()
    config_file.add_models(path, [GPT])
    assert path.read_text().startswith("# The configuration of Kairos.")
    assert config.load(path).models == [GPT]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


def test_adding_no_models_creates_no_file(tmp_path: Path) -> None:
    assert config_file.add_models(tmp_path / "kairos.toml", []) == []
    assert os.listdir(tmp_path) == []


def test_line_endings_of_the_file_are_kept(tmp_path: Path) -> None:
    path = written(tmp_path, 'log_level = "info"\r\n# end\r\n')
    config_file.add_models(path, [LLAMA])
    content = path.read_bytes()
    assert content.startswith(b'log_level = "info"\r\n# end\r\n\r\n[[models]]\r\n')
    assert content.count(b"\n") == content.count(b"\r\n")
    assert config.load(path).models == [LLAMA]


@pytest.mark.parametrize(
    ("text", "models", "message"),
    [
        (FILE, [LLAMA, ModelSettings(name="first", base_url="http://x")], "there is already a model named 'first'"),
        (FILE, [LLAMA, GPT, LLAMA], "there is already a model named 'ollama/llama3.2:3b'"),
        ("log_level = \n", [LLAMA], "not valid TOML"),
        ('models = [{name = "a", base_url = "http://x"}]\n', [LLAMA], "an inline list"),
        ("models = []\n", [LLAMA], "an inline list"),
        ("[models]\nname = 1\n", [LLAMA], "not a list of tables"),
        ("models = [1]\n", [LLAMA], "not a list of tables"),
    ],
)
def test_refused_models_leave_the_file_unchanged(
    tmp_path: Path, text: str, models: list[ModelSettings], message: str
) -> None:
    path = written(tmp_path, text)
    before = path.stat()
    with pytest.raises(InvalidInput, match=message) as error:
        config_file.add_models(path, models)
    assert str(path) in str(error.value)
    assert path.read_bytes() == text.encode()
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert os.listdir(tmp_path) == ["kairos.toml"]


def test_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "kairos.toml"
    path.write_bytes(b"# \xff\n")
    with pytest.raises(InvalidInput, match="UTF-8"):
        config_file.add_models(path, [LLAMA])
    assert path.read_bytes() == b"# \xff\n"


def test_missing_folder_is_reported(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be written"):
        config_file.add_models(tmp_path / "none" / "kairos.toml", [LLAMA])
    with pytest.raises(InvalidInput, match="cannot be read"):
        config_file.add_models(tmp_path, [LLAMA])


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_mode_is_kept(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path)
    path.chmod(mode)
    config_file.add_models(path, [LLAMA])
    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
def test_owner_is_kept(tmp_path: Path) -> None:
    path = written(tmp_path)
    os.chown(path, 4321, 4322)
    config_file.add_models(path, [LLAMA])
    assert (path.stat().st_uid, path.stat().st_gid) == (4321, 4322)


def test_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    path, link = written(tmp_path / "real"), tmp_path / "kairos.toml"
    link.symlink_to(path)
    config_file.add_models(link, [LLAMA])
    assert link.is_symlink()
    assert config.load(path).models[-1] == LLAMA


@pytest.mark.parametrize("step", ["fsync", "replace", "fchmod"])
def test_write_error_leaves_only_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    path = written(tmp_path)
    monkeypatch.setattr(os, step, full)
    with pytest.raises(InvalidInput, match="No space left on device"):
        config_file.add_models(path, [LLAMA])
    assert path.read_bytes() == FILE.encode()
    assert os.listdir(tmp_path) == ["kairos.toml"]


def test_new_text_is_synced_before_it_replaces_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, steps = written(tmp_path), list[str]()
    fsync, replace = os.fsync, os.replace

    def note_fsync(descriptor: int) -> None:
        found = os.fstat(descriptor)
        steps.append("folder synced" if stat.S_ISDIR(found.st_mode) else f"{found.st_size} bytes synced")
        fsync(descriptor)

    def note_replace(old: Path, new: Path) -> None:
        steps.append("replaced")
        replace(old, new)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_replace)
    config_file.add_models(path, [LLAMA])
    assert steps == [f"{path.stat().st_size} bytes synced", "replaced", "folder synced"]


def test_concurrent_change_of_the_file_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, fsync = written(tmp_path), os.fsync

    def slow(descriptor: int) -> None:
        path.write_text("# theirs\n")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", slow)
    with pytest.raises(Conflict, match="changed meanwhile"):
        config_file.add_models(path, [LLAMA])
    assert path.read_text() == "# theirs\n"
    assert os.listdir(tmp_path) == ["kairos.toml"]


IDENTIFIERS = st.text(string.ascii_lowercase, min_size=1, max_size=6)
PRINTED = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=12)
VALUES = st.one_of(
    st.integers(-(2**60), 2**60).map(str),
    st.sampled_from(["true", "0xf", "1_000", "-inf", "6.5e-3", "1979-05-27T07:32:00Z", "07:32:00"]),
    st.sampled_from(["{ a = 1, b.c = [] }", "[\n  1, # one\n]", "'''\nlong 'text'\n'''", '"""\n[[models]]\n"""']),
    PRINTED.map(lambda text: json.dumps(text, ensure_ascii=False)),
)
TABLES = st.dictionaries(IDENTIFIERS, VALUES, max_size=4)
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)


@st.composite
def files(draw: st.DrawFn) -> str:
    """Generate a valid TOML text with comments, models among tables in any order, and either kind of line ending."""
    comment = PRINTED.map(lambda text: f"# {text}")
    chunks = [_lines(draw(TABLES)), draw(comment)]
    sections = draw(st.lists(IDENTIFIERS, unique=True, max_size=3))
    heads = [f"[section_{name}.sub]" for name in sections] + ["[[models]]"] * draw(st.integers(0, 2))
    for head in draw(st.permutations(heads)):
        chunks += [f"{head} {draw(comment)}", _lines(draw(TABLES)), draw(comment)]
        chunks += [""] * draw(st.integers(0, 2))
    text = "\n".join(chunks) + draw(st.sampled_from(["", "\n", "\n\n", "\n  ", "\n# last"]))
    return draw(st.sampled_from([text, text.replace("\n", "\r\n")]))


def _lines(table: dict[str, str]) -> str:
    return "\n".join(f"key_{key}  =   {value}" for key, value in table.items())


PRICES = st.builds(PriceSettings, input=st.floats(0, 1e6), output=st.floats(0, 1e6))
MODELS = st.builds(
    ModelSettings,
    name=NAMES,
    upstream=st.none() | NAMES,
    base_url=st.just("http://127.0.0.1/v1"),
    local=st.booleans(),
    price=st.none() | PRICES,
    specialties=st.lists(NAMES, max_size=2),
)


@given(files(), st.lists(MODELS, min_size=1, max_size=3, unique_by=lambda model: model.name))
def test_any_file_keeps_its_bytes_and_any_model_can_be_read(text: str, models: list[ModelSettings]) -> None:
    before = tomllib.loads(text)
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder), text)
        config_file.add_models(path, models)
        content = path.read_bytes()
    assert content.startswith(text.encode())
    after = tomllib.loads(content.decode())
    known = before.pop("models", [])
    assert after["models"][: len(known)] == known
    assert [ModelSettings(**model) for model in after.pop("models")[len(known) :]] == models
    assert after == before
