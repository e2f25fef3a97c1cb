"""An adapter's effect is proven by log-probabilities that differ by more than the server's own variation."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos.fine_tuning.adapters.effect import (
    LEAST_DIFFERENCE,
    ProbeAnswer,
    Token,
    difference,
    has_effect,
    parsed_answer,
)

PROMPTS = ("Where is the key?", "Who signs the lease?")


def answer(text: str, *, shift: float = 0.0) -> ProbeAnswer:
    return ProbeAnswer(text, tuple(Token(word, -0.1 + shift, {word: -0.1 + shift, "?": -3.0}) for word in text.split()))


class ScriptedModel:
    """Answers with the given answers in turn, then with the last one."""

    def __init__(self, *answers: ProbeAnswer) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, prompt: str) -> ProbeAnswer:
        self.asked.append(prompt)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


async def effect(base: Sequence[ProbeAnswer], adapted: Sequence[ProbeAnswer], prompts: Sequence[str] = PROMPTS) -> bool:
    return await has_effect(ScriptedModel(*base), ScriptedModel(*adapted), prompts)


async def test_another_text_with_other_probabilities_is_an_effect():
    assert await effect([answer("in the drawer")], [answer("under the mat")])


async def test_the_same_text_with_other_probabilities_is_an_effect():
    """A weak adapter does not change the first words."""
    assert await effect([answer("in the drawer")], [answer("in the drawer", shift=-0.5)])


async def test_the_same_probabilities_are_no_effect():
    assert not await effect([answer("in the drawer")], [answer("in the drawer", shift=LEAST_DIFFERENCE / 2)])


async def test_change_between_two_equally_likely_tokens_is_no_effect():
    """The texts differ, but the probabilities of both tokens do not."""
    one = ProbeAnswer("in", (Token("in", -0.70, {"in": -0.70, "at": -0.71}),))
    other = ProbeAnswer("at", (Token("at", -0.70, {"in": -0.71, "at": -0.70}),))
    assert not await effect([one], [other])


async def test_difference_within_the_variation_of_the_server_is_no_effect():
    """The base itself varies by 1: an adapter has to differ by more than that."""
    varying = [answer("in the drawer"), answer("in the drawer", shift=-1.0)] * 2
    assert not await effect(varying, [answer("in the drawer", shift=-1.5)])


async def test_effect_on_one_prompt_is_enough():
    same, other = answer("in the drawer"), answer("in the drawer", shift=-2.0)
    assert await effect([same], [same, other])


async def test_shorter_answer_is_an_effect():
    """The end of an answer is a token too, but servers do not list it."""
    assert await effect([answer("yes because it is")], [answer("yes")])


async def test_server_without_log_probabilities_is_judged_by_its_texts():
    one, other = ProbeAnswer("in the drawer"), ProbeAnswer("under the mat")
    assert await effect([one], [other])
    assert not await effect([one], [one])
    assert not await effect([one, other, one, other], [other]), "the base itself answers differently"


async def test_adapter_without_training_prompts_only_has_to_answer():
    """The samples were erased. Nothing is known that it must change."""
    adapted = ScriptedModel(answer("hello"))
    assert await has_effect(ScriptedModel(answer("hello")), adapted, ())
    assert len(adapted.asked) == 1


def test_unlisted_token_counts_with_the_lowest_listed_probability():
    one = ProbeAnswer("in", (Token("in", -0.1, {"in": -0.1, "at": -2.5}),))
    other = ProbeAnswer("on", (Token("on", -0.2, {"on": -0.2, "by": -2.0}),))
    assert difference(one, other) == pytest.approx(2.3)


LOGPROBS = st.floats(-50, 0)
TOKENS = st.builds(Token, st.sampled_from("abc"), LOGPROBS, st.dictionaries(st.sampled_from("abcd"), LOGPROBS))
ANSWERS = st.lists(TOKENS, max_size=6).map(lambda tokens: ProbeAnswer("".join(t.text for t in tokens), tuple(tokens)))


@given(ANSWERS, ANSWERS)
def test_difference_is_symmetric_and_zero_for_the_same_answer(one: ProbeAnswer, other: ProbeAnswer):
    assert difference(one, other) == difference(other, one) >= 0.0
    assert difference(one, one) == 0.0


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "message", "content", "logprobs", "token", "logprob", "top_logprobs"]), inner
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_body_is_an_answer_or_a_value_error(body: object):
    try:
        parsed_answer(body)
    except ValueError:
        return
    assert isinstance(body, dict)


def test_reasoning_is_part_of_the_answer():
    message = {"role": "assistant", "content": None, "reasoning_content": "First"}
    logprobs = {"content": [{"token": "First", "logprob": -9999.0, "top_logprobs": []}]}
    found = parsed_answer({"choices": [{"message": message, "logprobs": logprobs}]})
    assert found.text == "First"
    assert not math.isinf(difference(found, found))
