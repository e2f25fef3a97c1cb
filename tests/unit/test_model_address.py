"""Addresses and keys are normalised, because people paste them in many forms."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos.config import InvalidConfig, load
from kairos.http import joined, plain_address
from kairos.model_address import Unusable, clean_key, key_variable, model_address
from kairos.model_keys import require_variables, usable_key

AZURE = "https://x.openai.azure.com/openai/deployments/d?api-version=2024-10-21"


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("http://127.0.0.1:11434/v1", "http://127.0.0.1:11434/v1"),
        ("  'http://127.0.0.1:11434/v1/' \n", "http://127.0.0.1:11434/v1"),
        ("http://localhost:8000/v1///", "http://localhost:8000/v1"),
        ("HTTPS://api.openai.com/v1", "https://api.openai.com/v1"),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1"),
        ("https://api.openai.com/v1/chat/completions", "https://api.openai.com/v1"),
        (f"{AZURE}", AZURE),
        (
            "https://x/openai/deployments/d/chat/completions?api-version=1",
            "https://x/openai/deployments/d?api-version=1",
        ),
        ("http://host.example", "http://host.example"),
    ],
)
def test_address_is_normalised(given: str, used: str):
    assert model_address(given) == used


@pytest.mark.parametrize(
    "given",
    ["", "localhost:11434/v1", "ftp://x/v1", "http:///v1", "http://a b/v1", "http://x/v1 x", "http://::1:80/v1",
     "http://x:port/v1", "http://x:99999/v1", "https://user:hidden@x/v1", "https://hidden@x/v1", "https://x/v1#hidden",
     "http://x/v1\x00", "http://x/\u202ev1"],
)  # fmt: skip
def test_unusable_address_is_refused_without_repeating_it(given: str):
    with pytest.raises(Unusable) as caught:
        model_address(given)
    assert "hidden" not in str(caught.value)


@given(st.text(max_size=60))
def test_normalisation_is_idempotent(text: str):
    try:
        once = model_address(text)
    except Unusable:
        return
    assert model_address(once) == once
    assert joined(once, "models").count("?") == once.count("?")


def test_path_is_inserted_before_the_query():
    assert joined(AZURE, "chat/completions") == (
        "https://x.openai.azure.com/openai/deployments/d/chat/completions?api-version=2024-10-21"
    )
    assert plain_address(joined(AZURE, "chat/completions")).endswith("/d/chat/completions")


@pytest.mark.parametrize("pasted", [" sk-1 ", '"sk-1"', "'sk-1'\n", "\ufeffsk-1\r\n", "“sk-1”", "\u200bsk-1\u00a0"])
def test_surrounding_characters_of_a_pasted_key_are_removed(pasted: str):
    assert clean_key(pasted) == "sk-1"


@pytest.mark.parametrize(
    ("pasted", "message"),
    [("", "empty"), (" '' ", "empty"), ("sk 1", "character 3"), ("sk\n1", "U+000A"), ("sk-\x001", "U+0000"),
     ("sk\x7f1", "control character (U+007F)"), ("sk\x1b1", "U+001B"),
     ("sk-ş", "not ASCII"), ("sk\u200b1", "U+200B"), ("sk-\ud8001", "U+D800")],
)  # fmt: skip
def test_unsendable_key_is_reported_by_the_place_of_its_character(pasted: str, message: str):
    with pytest.raises(InvalidConfig) as caught:
        usable_key("MY_KEY", pasted, "mine", "kairos.toml:3")
    assert message in str(caught.value)
    assert "MY_KEY" in str(caught.value)
    assert "sk" not in str(caught.value)


@pytest.mark.parametrize("given", ["sk-proj-abc", "1KEY", "", "A B"])
def test_key_given_instead_of_its_variable_is_not_repeated(given: str):
    with pytest.raises(Unusable) as caught:
        key_variable(given)
    assert not given or given not in str(caught.value)


def toml(folder: Path, **values: str) -> Path:
    file = folder / "kairos.toml"
    entry = {"name": "m", "base_url": "http://x/v1", **values}
    file.write_text("[[models]]\n" + "".join(f"{key} = '''{value}'''\n" for key, value in entry.items()))
    return file


def test_configuration_error_has_its_line_and_no_credential(tmp_path: Path):
    for values in ({"base_url": "https://me:hidden@x/v1"}, {"api_key_env": "sk-hidden"}):
        with pytest.raises(InvalidConfig) as caught:
            load(toml(tmp_path, **values))
        assert "hidden" not in str(caught.value)
        assert ".toml:" in str(caught.value)


def test_configuration_normalises_addresses_and_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MY_KEY", "sk 1")
    file = toml(tmp_path, base_url=' "http://x/v1/" ', api_key_env=" 'MY_KEY' ")
    (model,) = load(file).models
    assert (model.base_url, model.api_key_env) == ("http://x/v1", "MY_KEY")
    with pytest.raises(InvalidConfig, match=r"toml:4.*MY_KEY"):
        require_variables(load(file), file)
