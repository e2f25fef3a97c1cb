"""The context that Kairos goes by: what the server says, and what calls found."""

from __future__ import annotations

from kairos.llm.calls.model_traits import ModelTraits, Traits
from kairos.llm.calls.served_context import ModelContexts, ServedContext
from kairos.llm.catalog.catalog import Model

MODEL = Model("m", "m", "http://127.0.0.1:1/v1", context=8192)


def found(context: int) -> tuple[ModelTraits, ModelContexts]:
    traits = ModelTraits()
    traits.learn(MODEL, Traits(context=context))
    return traits, ModelContexts(traits)


def test_a_found_context_is_forgotten_once_the_server_says_another_for_certain():
    _, contexts = found(2048)
    contexts.update(MODEL, ServedContext(4096, certain=False))
    assert contexts.of(MODEL) == 2048
    contexts.update(MODEL, ServedContext(4096))
    assert contexts.of(MODEL) == 4096


def test_a_found_context_that_the_server_confirms_is_kept():
    traits, contexts = found(4096)
    contexts.update(MODEL, ServedContext(4096))
    assert traits.of(MODEL).context == 4096


def test_a_context_that_is_found_while_the_server_says_the_same_as_before_is_kept():
    traits, contexts = found(4096)
    contexts.update(MODEL, ServedContext(8192))
    traits.learn(MODEL, Traits(context=2048))
    contexts.update(MODEL, ServedContext(8192))
    assert contexts.of(MODEL) == 2048
