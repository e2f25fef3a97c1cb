"""Prices of known models; other prices are unknown."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos.llm.catalog import prices
from kairos.llm.catalog.catalog import FREE, Price

ALL = [(provider, model) for provider, models in prices.price_list().models.items() for model in models.values()]


@pytest.mark.parametrize(("provider", "model"), ALL, ids=lambda value: getattr(value, "id", value))
def test_entry_has_a_plausible_price_and_a_source(provider: str, model: prices.KnownModel) -> None:
    assert prices.price_of(provider, model.id) == model.price
    assert 0 < model.price.input <= model.price.output < 1000  # USD for a million tokens, not for one or for a thousand
    assert model.context >= 8192
    assert "." in model.source  # the address of a page


def test_price_file_has_a_date() -> None:
    assert date(2026, 11, 1) <= prices.price_list().as_of <= date.today()
    assert prices.price_list().notice


def test_no_provider_has_two_entries_for_one_model() -> None:
    text = prices.resources.files("kairos.llm.catalog").joinpath("prices.toml").read_text()
    assert text.count("\nid = ") == len(ALL)


@pytest.mark.parametrize(
    ("provider", "model_id", "as_of"),
    [
        ("openai", "gpt-4o-2024-08-06", "gpt-4o"),
        ("openai", "gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("anthropic", "claude-haiku-4-5-20251001", "claude-haiku-4-5"),
        ("google", "models/gemini-2.5-pro", "gemini-2.5-pro"),
    ],
)
def test_dated_version_has_the_price_of_its_model(provider: str, model_id: str, as_of: str) -> None:
    assert prices.price_of(provider, model_id) == prices.price_of(provider, as_of) is not None


def test_dated_version_with_its_own_entry_has_that_price() -> None:
    assert prices.price_of("openai", "gpt-4o-2024-05-13") == Price(5.0, 15.0)
    assert prices.price_of("openai", "gpt-4o") == Price(2.5, 10.0)


@pytest.mark.parametrize(
    ("provider", "model_id"),
    [
        ("openai", "gpt-4o-audio-preview"),  # starts like gpt-4o
        ("openai", "gpt-4o-2024-13-01"),  # not a date
        ("openai", "gpt-4o-20240806"),  # a date in Anthropic's format
        ("openai", "gpt-4o-2024-08-06-tuned"),
        ("openai", "GPT-4o"),
        ("openai", "models/gpt-4o"),
        ("openai", "claude-haiku-4-5"),  # belongs to another provider
        ("openai", ""),
        ("anthropic", "claude-haiku-4-5-2025-10-01"),
        ("google", "gemini-2.5-flash-001"),
        ("google", "gemini-2.5-flash-preview-05-20"),
        ("mistral", "mistral-large-2411"),
        ("mistral", "mistral-small-latest"),
        ("openrouter", "openai/gpt-4o"),
        ("openrouter", "meta-llama/llama-4:free"),
        ("nobody", "gpt-4o"),
    ],
)
def test_other_names_have_no_known_price(provider: str, model_id: str) -> None:
    assert prices.price_of(provider, model_id) is None


@given(st.sampled_from(ALL), st.text("abz019-.:/", min_size=1, max_size=12))
def test_prefix_of_a_known_name_is_not_enough(entry: tuple[str, prices.KnownModel], rest: str) -> None:
    provider, model = entry
    longer = model.id + rest
    known = prices.known_model(provider, longer)
    suffix = prices.price_list().suffixes.get(provider)
    assert known is None or known.id == longer or (suffix and suffix.sub("", longer) == known.id)


@pytest.mark.parametrize("provider", sorted(prices.LOCAL_PROVIDERS))
def test_models_of_local_servers_are_free(provider: str) -> None:
    assert prices.price_of(provider, "llama3.2:3b") == FREE


@pytest.mark.parametrize("model_id", ["gpt-oss:120b-cloud", "gemma4:cloud"])
def test_ollama_cloud_models_are_not_free(model_id: str) -> None:
    assert prices.price_of("ollama", model_id) is None
    assert not prices.is_local("ollama", model_id)
    assert prices.is_local("vllm", model_id)


@pytest.mark.parametrize("model_id", ["cloudy:7b", "me/cloud:latest", "llama:mycloud"])
def test_cloud_elsewhere_in_a_name_is_ignored(model_id: str) -> None:
    assert prices.is_local("ollama", model_id)
