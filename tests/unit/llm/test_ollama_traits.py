"""What an Ollama server reports of one model is read defensively, and that of many within a limited time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos.http import HttpStatus
from kairos.llm.calls import ollama_traits
from kairos.llm.calls.ollama_traits import DESCRIBED_AT_ONCE, MOST_DESCRIBED, UNKNOWN, described, is_remote, traits
from kairos.llm.calls.server_problems import ServerProblem, ServerProblemKind

JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=10)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=10), inner, max_size=3)),
    max_leaves=8,
)


def test_traits_are_read():
    shown = {"model_info": {"llama.context_length": 8192}, "capabilities": ["tools", "completion", 5, "tools"]}
    assert (traits(shown).context, traits(shown).capabilities) == (8192, ("completion", "tools"))


@pytest.mark.parametrize(
    "odd",
    [None, [], {}, {"model_info": [], "capabilities": "tools"}, {"model_info": {"x.context_length": -5}}],
)
def test_odd_answer_states_nothing(odd: Any):
    assert traits(odd) == UNKNOWN


@given(JSON)
def test_any_answer_is_read_without_an_error(answer: Any):
    for found in (traits(answer), traits({"model_info": answer, "capabilities": answer})):
        assert found.context is None or found.context > 0
        assert found.capabilities is None or all(len(one) <= 40 for one in found.capabilities)


def test_models_of_the_cloud_are_remote():
    assert is_remote("big:cloud", {})
    assert is_remote("big:120b-cloud", {})
    assert is_remote("mine", {"remote_host": "https://ollama.com"})
    assert not is_remote("cloudy:7b", {"remote_host": ""})


async def test_models_that_cannot_be_described_are_left_out():
    errors = {
        "broken": HttpStatus(address="http://h", http_status=500, reason="broken file", retry_after_s=None),
        "refused": ServerProblem(ServerProblemKind.WRONG_KEY, "the server refused the key", "Copy it again"),
    }

    async def describe(name: str) -> str:
        if name in errors:
            raise errors[name]
        return f"about {name}"

    assert await described(["one", "broken", "two", "refused"], describe) == {"one": "about one", "two": "about two"}


async def test_number_of_models_and_of_calls_at_once_is_bounded():
    running, most, asked = 0, 0, 0

    async def describe(name: str) -> str:
        nonlocal running, most, asked
        running, asked = running + 1, asked + 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return name

    names = [f"m{number}" for number in range(MOST_DESCRIBED + 10)]
    assert set(await described(names, describe)) == set(names[:MOST_DESCRIBED])
    assert (most, asked) == (DESCRIBED_AT_ONCE, MOST_DESCRIBED)


async def test_models_described_in_time_are_kept(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ollama_traits, "DESCRIBING_S", 0.05)

    async def describe(name: str) -> str:
        if name == "hanging":
            await asyncio.Event().wait()
        return name

    assert await described(["one", "hanging", "two"], describe) == {"one": "one", "two": "two"}
