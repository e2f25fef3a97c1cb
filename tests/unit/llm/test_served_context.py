"""The context of a model, as its server reports it or as calls revealed it."""

from __future__ import annotations

from kairos.llm.calls.model_traits import ModelTraits, Traits
from kairos.llm.calls.served_context import ModelContexts, ServedContext
from kairos.llm.catalog.catalog import Model

MODEL = Model("m", "m", "http://127.0.0.1:1/v1", context=8192)


def found(context: int) -> tuple[ModelTraits, ModelContexts]:
    traits = ModelTraits()
    traits.learn(MODEL, Traits(context=context))
    return traits, ModelContexts(traits)


def test_learned_context_is_replaced_by_a_different_certain_report():
    _, contexts = found(2048)
    contexts.update(MODEL, ServedContext(4096, certain=False))
    assert contexts.of(MODEL) == 2048
    contexts.update(MODEL, ServedContext(4096))
    assert contexts.of(MODEL) == 4096


def test_learned_context_is_kept_if_the_server_confirms_it():
    traits, contexts = found(4096)
    contexts.update(MODEL, ServedContext(4096))
    assert traits.of(MODEL).context == 4096


def test_learned_context_is_kept_while_the_report_does_not_change():
    traits, contexts = found(4096)
    contexts.update(MODEL, ServedContext(8192))
    traits.learn(MODEL, Traits(context=2048))
    contexts.update(MODEL, ServedContext(8192))
    assert contexts.of(MODEL) == 2048
