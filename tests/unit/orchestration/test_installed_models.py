"""What an Ollama server reports of its models is read defensively; names are checked before they are sent."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos.errors import InvalidInput
from kairos.orchestration.providers.ollama.installed_models import (
    MOST_MODELS,
    installed_models,
    loaded_models,
)
from kairos.orchestration.providers.ollama.model_name import clean_model_name, registry_of

ROW = {
    "name": "smol:latest",
    "digest": "8e" * 32,
    "size": 98_362_432,
    "modified_at": "2026-11-30T12:00:00.123456789+01:00",
    "details": {"family": "llama", "parameter_size": "134.52M", "quantization_level": "Q4_1"},
}
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=10)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=10), inner, max_size=3)),
    max_leaves=8,
)


def test_installed_model_is_read():
    [model] = installed_models({"models": [ROW]}) or []
    assert (model.name, model.size, model.parameters, model.quantization) == (
        "smol:latest",
        98_362_432,
        "134.52M",
        "Q4_1",
    )
    assert model.modified_at == datetime(2026, 11, 30, 11, 0, 0, 123456, tzinfo=UTC)
    assert not model.cloud


@pytest.mark.parametrize("row", [{"name": "big", "remote_host": "https://ollama.com"}, {"name": "big:120b-cloud"}])
def test_model_of_the_cloud_is_marked(row: dict[str, Any]):
    [model] = installed_models({"models": [row]}) or []
    assert model.cloud


def test_loaded_model_is_read():
    row = {"name": "smol:latest", "size": 300, "size_vram": 200, "context_length": 4096}
    soon = datetime.now(UTC).replace(microsecond=0)
    [loaded] = loaded_models({"models": [{**row, "expires_at": soon.isoformat()}]}) or []
    assert (loaded.memory, loaded.vram, loaded.context, loaded.until) == (300, 200, 4096, soon)
    [kept] = loaded_models({"models": [{**row, "expires_at": "2318-01-01T00:00:00Z"}]}) or []
    assert kept.until is None


@pytest.mark.parametrize(
    "odd",
    [
        {"size": -1},
        {"size": 1e9},
        {"size": True},
        {"modified_at": "0001-01-01T00:00:00Z"},
        {"modified_at": "9999-12-31T23:59:59-12:00"},
        {"modified_at": "not a time"},
        {"details": None},
        {"details": {"parameter_size": ["x"], "quantization_level": "\x00", "family": "x" * 500}},
    ],
)
def test_odd_values_are_unknown(odd: dict[str, Any]):
    [model] = installed_models({"models": [{"name": "m", **odd}]}) or []
    assert (model.size, model.parameters, model.quantization, model.family, model.modified_at) == (None,) * 5


def test_entries_without_a_usable_name_are_left_out():
    rows = [{"name": ""}, {"name": "a\nb"}, {"name": 5}, {}, None, "x", {"name": "x" * 5000}, {"model": "kept"}]
    assert [model.name for model in installed_models({"models": rows}) or []] == ["kept"]


def test_number_of_models_is_bounded():
    rows = [{"name": f"m{number}"} for number in range(MOST_MODELS + 5)]
    assert len(installed_models({"models": rows}) or []) == MOST_MODELS


def test_empty_list_and_no_list_are_told_apart():
    assert installed_models({"models": None}) == installed_models({"models": []}) == []
    for other in ({}, {"data": []}, [], "models", None, {"models": {"a": 1}}):
        assert installed_models(other) is None
        assert loaded_models(other) is None


@given(JSON)
def test_any_answer_is_read_without_an_error(answer: Any):
    for parse in (installed_models, loaded_models):
        assert parse(answer) is None or isinstance(parse(answer), list)
        assert isinstance(parse({"models": [answer]}), list)


@pytest.mark.parametrize(
    ("given_name", "cleaned", "registry"),
    [
        (" llama3.2 ", "llama3.2", None),
        ("llama3.2:3b", "llama3.2:3b", None),
        ("team/model_1:v1.0-q4_K_M", "team/model_1:v1.0-q4_K_M", None),
        (
            "hf.co/bartowski/Llama-3.2-3B-Instruct-GGUF:Q4_K_M",
            "hf.co/bartowski/Llama-3.2-3B-Instruct-GGUF:Q4_K_M",
            "hf.co",
        ),
        ("http://127.0.0.1:5000/library/tiny", "127.0.0.1:5000/library/tiny", "127.0.0.1:5000"),
    ],
)
def test_names_of_models_are_accepted(given_name: str, cleaned: str, registry: str | None):
    assert clean_model_name(given_name) == cleaned
    assert registry_of(cleaned) == registry


@pytest.mark.parametrize(
    "name",
    [
        "",
        "  ",
        "-x",
        "../../etc/passwd",
        "a/b/c/d",
        "user:pass@host/a/b",
        "a b",
        "model:tag:tag",
        "model@sha256:00",
        "m\nodel",
        "x" * 81,
        "host:999999/a/b",
        "host/name.space/model",
        "ftp://host/a/b",
        "modèle",
        "a?b=c",
        "a#b",
        "[::1]/a/b",
        "a/" + "x" * 10_000,
    ],
)
def test_other_names_are_refused(name: str):
    with pytest.raises(InvalidInput, match="ollama pull") as refusal:
        clean_model_name(name)
    assert len(str(refusal.value)) < 600
