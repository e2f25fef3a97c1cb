"""Reasoning before an answer is separated from it, whatever its marks and however the stream is split."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos.llm.answers.reasoning import ReasoningSplit
from tests.kit.model_calls import delta, events
from tests.kit.raw_model import ask, chunked

MARKED = [
    "<think>{r}</think>{a}",
    "<think>\n{r}\n</think>\n\n{a}",
    "\n\n<think>{r}</think>{a}",
    "\ufeff<think>{r}</think>{a}",
    "<THINK>{r}</Think>{a}",
    "<thinking>{r}</thinking>{a}",
    "<thinking>{r}</think>{a}",
    "<thought>{r}</thought>\n{a}",
    "<reasoning>\n{r}\n</reasoning>\n{a}",
    "<seed:think>{r}</seed:think>{a}",
    "[THINK]{r}[/THINK]{a}",
    "◁think▷{r}◁/think▷{a}",
    "<|begin_of_thought|>{r}<|end_of_thought|>\n\n<|begin_of_solution|>{a}<|end_of_solution|>",
    "<|START_THINKING|>{r}<|END_THINKING|><|START_RESPONSE|>{a}<|END_RESPONSE|>",
    "<|channel|>analysis<|message|>{r}<|end|><|start|>assistant<|channel|>final<|message|>{a}<|return|>",
    "<|channel|>analysis<|message|>{r}<|start|>assistant<|channel|>final<|message|>{a}",
    "<|channel|>analysis<|message|>{r}<|end|><|start|>assistant<|channel|>final <|constrain|>json<|message|>{a}",
    "<|start|>assistant<|channel|>analysis<|message|>{r}<|end|><|start|>assistant<|channel|>final<|message|>{a}<|end|>",
    "<|channel>thought\n{r}<channel|>{a}",
    "<unused94>thought\n{r}<unused95>{a}",
    "{r}\n</think>\n\n{a}",
    "{r}</think>{a}",
    "{r}[/THINK]{a}",
    "{r}\n◁/think▷\n{a}",
]
ORDINARY = [
    "Rome",
    "",
    "   ",
    "  Rome, with a space before it",
    "<thin",
    "<b>Rome</b>",
    "The model writes <think>hm</think> before it answers.",
    "`<think>` opens reasoning, and `</think>` closes it.",
    "The tag `</think>` closes it.",
    'Look for "</think>" in the text.',
    "```\n<think>hm</think>\n```",
    "```html\n<p>\n</think>\n```\nAnd so on.",
    "    <other>code</other>",
    "analysis of the market",
    "<|channel|>",
]


def split(text: str, size: int) -> tuple[str, str, str]:
    """Return the answer, the reasoning, and the text that a listener has at the end."""
    splitter, shown, seen = ReasoningSplit(), "", 0
    for at in range(0, len(text), size):
        piece = splitter.feed(text[at : at + size])
        shown = piece if splitter.retractions > seen else shown + piece
        seen = splitter.retractions
    shown += splitter.finish()
    return splitter.answer(), splitter.reasoning(), shown


@pytest.mark.parametrize("marked", MARKED)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 10_000])
def test_reasoning_before_an_answer_is_not_part_of_it(marked: str, size: int):
    reasoning, answer = 'They want JSON: {"x": 1} maybe < 5.', '{"city": "Rome"}'
    got, thoughts, _ = split(marked.format(r=reasoning, a=answer).replace("{r}", reasoning), size)
    assert (got, thoughts) == (answer, reasoning)


@pytest.mark.parametrize("text", ORDINARY)
@pytest.mark.parametrize("size", [1, 3, 10_000])
def test_answer_without_reasoning_is_unchanged(text: str, size: int):
    assert split(text, size) == (text, "", text)


@given(
    marked=st.sampled_from(MARKED[:11]),
    reasoning=st.text("ab <>/[]\n", min_size=1, max_size=60),
    answer=st.text("ab<>/ \n", min_size=1, max_size=60).filter(lambda text: text.strip()[:1] == "a"),
    size=st.integers(1, 30),
)
def test_any_split_gives_the_same_answer(marked: str, reasoning: str, answer: str, size: int):
    got, thoughts, shown = split(marked.replace("{r}", reasoning).replace("{a}", answer), size)
    assert (got, thoughts, shown) == (answer.lstrip(), reasoning.strip(), got)


def test_several_blocks_before_an_answer_are_all_reasoning():
    assert split("<think>a</think>\n<think>b</think>\nRome", 4)[:2] == ("Rome", "a\n\nb")


@pytest.mark.parametrize(
    "text", ["<think>\nIt is Ro", "<think>It is Rome</thi", "[THINK]It is", "<|channel|>analysis<|message|>x"]
)
def test_unfinished_reasoning_gives_an_empty_answer(text: str):
    got, thoughts, shown = split(text, 5)
    assert (got, shown) == ("", "")
    assert thoughts


def test_long_answer_is_not_searched_repeatedly():
    splitter = ReasoningSplit()
    for _ in range(20_000):
        splitter.feed("`</think>` and more ")
    for _ in range(20_000):
        splitter.feed(" ")
    assert len(splitter.answer()) == 20_000 * 21


async def test_draft_shows_no_reasoning():
    deltas: list[str] = []
    pieces = ["<thi", "nk>It is Pa", "ris. No, Rome.</th", "ink>\n\nRo", "me"]
    got = await ask(chunked(events(*map(delta, pieces), delta(finish="stop"), "[DONE]").encode()), deltas=deltas)
    assert (got.text, got.reasoning) == ("Rome", "It is Paris. No, Rome.")
    assert "".join(deltas) == "Rome"


async def test_draft_that_turns_out_to_be_reasoning_is_restarted():
    deltas: list[str] = []
    pieces = ["It is Pa", "ris. No, Rome.</th", "ink>\n\nRo", "me"]
    got = await ask(chunked(events(*map(delta, pieces), delta(finish="stop"), "[DONE]").encode()), deltas=deltas)
    assert (got.text, got.reasoning, "".join(deltas)) == ("Rome", "It is Paris. No, Rome.", "Rome")


@pytest.mark.parametrize(
    "pieces",
    [
        [delta(reasoning_content="It is "), delta(reasoning_content="Rome."), delta("Rome")],
        [delta(reasoning="It is "), delta("", reasoning="Rome."), delta("Rome")],
        [delta(reasoning="It is Rome.", reasoning_content="It is Rome."), delta("Rome")],
        [delta([{"type": "thinking", "thinking": [{"type": "text", "text": "It is Rome."}]}]), delta("Rome")],
        [delta("<think>It is Rome.</think>Rome")],
    ],
)
async def test_reasoning_in_a_separate_field_is_kept(pieces: list[dict[str, object]]):
    got = await ask(chunked(events(*pieces, delta(finish="stop"), "[DONE]").encode()))
    assert (got.text, got.reasoning) == ("Rome", "It is Rome.")
