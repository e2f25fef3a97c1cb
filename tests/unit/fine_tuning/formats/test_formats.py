"""Every format is read like Kairos' own, and an unsupported row is refused with a reason."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kairos.fine_tuning.dataset.formats.detection import FORMATS, read
from kairos.fine_tuning.dataset.formats.row import Imported, RowRefused

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=40)
NOT_BLANK = TEXT.filter(lambda text: bool(text.strip()))
TASK_TYPE = st.none() | TEXT


def u(content: Any, **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, **more}


def a(content: Any, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **more}


@st.composite
def conversations(draw: st.DrawFn) -> list[dict[str, str]]:
    """Generate a prompt that ends with a message of the user."""
    turns = [{"role": "system", "content": draw(TEXT)}] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(0, 2))):
        turns += [u(draw(TEXT)), a(draw(TEXT))]
    return [*turns, u(draw(NOT_BLANK))]


def parts(content: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": content[:3]}, {"type": "text", "text": content[3:]}]


def of(row: dict[str, Any]) -> Imported:
    return read(orjson.dumps(row))


def typed(row: dict[str, Any], task_type: str | None) -> dict[str, Any]:
    return row if task_type is None else {**row, "task_type": task_type}


@given(conversations(), NOT_BLANK, TASK_TYPE, st.booleans())
def test_openai_chat(prompt, answer, task_type, in_parts: bool):
    shown = [{**m, "content": parts(m["content"])} for m in prompt] if in_parts else prompt
    assert of(typed({"messages": [*shown, a(answer)]}, task_type)) == Imported(prompt, answer, None, task_type)


@given(conversations(), NOT_BLANK)
def test_developer_message_is_read_as_system_message(prompt, answer):
    renamed = [{**m, "role": "developer"} if m["role"] == "system" else m for m in prompt]
    assert of({"messages": [*renamed, a(answer)]}).messages == prompt


@given(conversations(), NOT_BLANK, NOT_BLANK.map(lambda text: text + "!"))
def test_openai_preference_pairs(prompt, good, bad):
    row = {"input": {"messages": prompt, "tools": [], "parallel_tool_calls": True}}
    row |= {"preferred_output": [a(good)], "non_preferred_output": [a(bad + good)]}
    assert of(row) == Imported(prompt, good, bad + good)


@given(conversations(), NOT_BLANK, st.booleans(), st.booleans())
def test_trl_preference_pairs_of_messages(prompt, good, repeated: bool, explicit: bool):
    before = prompt if repeated or not explicit else []
    row: dict[str, Any] = {"chosen": [*before, a(good)], "rejected": [*before, a("no " + good)]}
    if explicit:
        row["prompt"] = prompt
    assert of(row) == Imported(prompt, good, "no " + good)


@given(NOT_BLANK, NOT_BLANK)
def test_trl_preference_pairs_of_text(prompt, good):
    expected = Imported([u(prompt)], good, "no " + good)
    assert of({"prompt": prompt, "chosen": good, "rejected": "no " + good}) == expected
    ultrafeedback = {"prompt": prompt, "prompt_id": "x", "messages": [u(prompt), a(good)], "score_chosen": 8.5}
    ultrafeedback |= {"chosen": [u(prompt), a(good)], "rejected": [u(prompt), a("no " + good)]}
    assert of(ultrafeedback) == expected


@given(NOT_BLANK, TEXT, NOT_BLANK, st.none() | TEXT)
def test_alpaca(instruction, extra, output, system):
    row = {"instruction": instruction, "input": extra, "output": output, "system": system, "text": "Below is …"}
    question = f"{instruction}\n\n{extra}" if extra.strip() else instruction
    before = [{"role": "system", "content": system}] if system else []
    assert of(row) == Imported([*before, u(question)], output)


def test_alpaca_with_history():
    row = {"instruction": "c", "output": "d", "history": [["a", "b"]]}
    assert of(row) == Imported([u("a"), a("b"), u("c")], "d")


@given(conversations(), NOT_BLANK)
def test_sharegpt(prompt, answer):
    names = {"system": "system", "user": "human", "assistant": "gpt"}
    turns = [{"from": names[m["role"]], "value": m["content"]} for m in [*prompt, a(answer)]]
    assert of({"id": "identity_0", "conversations": turns}) == Imported(prompt, answer)


def test_sharegpt_preference_pairs():
    row = {"conversations": [{"from": "human", "value": "q"}]}
    row |= {"chosen": {"from": "gpt", "value": "good"}, "rejected": {"from": "gpt", "value": "bad"}}
    assert of(row) == Imported([u("q")], "good", "bad")


@given(conversations(), NOT_BLANK, st.sampled_from(["completion", "response"]))
def test_prompt_and_completion(prompt, answer, name):
    assert of({"prompt": prompt, name: [a(answer)]}) == Imported(prompt, answer)
    assert of({"prompt": "q", name: answer}) == Imported([u("q")], answer)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"messages": [u("q"), a("bad", weight=0), u("again"), a("good", weight=1)]}, "good"),
        ({"messages": [u("q"), a("good"), u("again"), a("bad", weight=0)]}, "good"),
        ({"messages": [u("q"), a("good", weight=1), u("x"), a("bad", weight=0.0)]}, "good"),
    ],
)
def test_last_answer_with_weight_is_the_answer(row, expected: str):
    assert of(row).answer == expected


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"messages": [u("q"), a("bad", weight=0)]}, "weight 0"),
        ({"messages": [u("q"), a("x", weight=0), u("r"), a("y", weight=0)]}, "weight 0"),
        ({"messages": [u("q"), a("x")], "weight": 0}, "weight is 0"),
        ({"prompt": "q", "completion": "x", "label": False}, "label is false"),
        ({"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "x", "weight": 0}]}, "weight 0"),
        ({"messages": [u("q"), a("x", weight="0")]}, "weight"),
        ({"messages": [u("q"), a(None, tool_calls=[{"id": "1"}])]}, "calls a tool"),
        ({"messages": [u("q"), {"role": "tool", "content": "1"}, a("x")]}, "result of a tool"),
        ({"messages": [u("q"), a("x")], "tools": [{"type": "function"}]}, "`tools`"),
        ({"messages": [u("q"), a("x")], "functions": [{}]}, "`functions`"),
        ({"messages": [u([{"type": "image_url", "image_url": {"url": "data:"}}]), a("x")]}, "image_url"),
        ({"messages": [u([{"type": "input_audio"}]), a("x")]}, "input_audio"),
        ({"messages": [u("q"), a(None, audio={"id": "1"})]}, "audio"),
        ({"messages": [u("q"), a(None)]}, "missing"),
        ({"messages": [u("q"), a(" ")]}, "empty"),
        ({"messages": [u("q"), a("x"), u("again")]}, "not an answer"),
        ({"messages": [a("x")]}, "no prompt"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "'robot'"),
        ({"messages": [u("a\x00"), a("x")]}, "NUL"),
        ({"messages": [u("q"), a("x")], "rejected": 1}, "`rejected`"),
        ({"messages": [u("q"), a("x")], "task_type": "x" * 101}, "task_type"),
        ({"messages": [u("q"), a("x")], "kairos": {"id": "1"}}, "kairos.id"),
        ({"messages": [u("q"), a("x")], "kairos": []}, "kairos"),
        ({"prompt": "q"}, "neither `completion` nor `chosen`"),
        ({"completion": "q"}, "no `prompt`"),
        ({"prompt": "q", "chosen": "x"}, "without `rejected`"),
        ({"chosen": "x", "rejected": "y"}, "without `prompt`"),
        ({"prompt": "q", "chosen": "x", "rejected": "x"}, "the same"),
        ({"chosen": [u("q"), a("x")], "rejected": [u("p"), a("y")]}, "different prompts"),
        ({"preferred_output": [a("x")], "non_preferred_output": [a("y")]}, "without `input`"),
        ({"input": {"messages": [u("q")]}, "preferred_output": [a("x")]}, "without `non_preferred_output`"),
        ({"instruction": "q"}, "without `output`"),
        ({"instruction": "", "output": "x"}, "empty"),
        ({"conversations": [{"from": "ghost", "value": "q"}]}, "'ghost'"),
        ({"conversations": [{"from": "observation", "value": "q"}, {"from": "gpt", "value": "x"}]}, "tool"),
        ({"question": "q", "answer": "x"}, "Keys found: question, answer"),
        ({"text": "q"}, "Keys found: text"),
        ({}, "Keys found: none"),
    ],
)
def test_unsupported_row_is_refused_with_a_reason(row: dict[str, Any], reason: str):
    with pytest.raises(RowRefused) as refusal:
        of(row)
    assert reason in str(refusal.value)


@pytest.mark.parametrize("record", [b"{", b"[]", b'"x"', b"1", b"null", b'{"a": "\\ud800"}', b"\xff", b"x" * 1_000_001])
def test_record_that_is_not_an_object_is_refused(record: bytes):
    with pytest.raises(RowRefused):
        read(record)


def test_error_for_an_unknown_format_lists_the_supported_formats():
    with pytest.raises(RowRefused) as refusal:
        of({"foo\x1b[31m": 1})
    for one in FORMATS:
        assert one.SHAPE in str(refusal.value)
    assert "\x1b" not in str(refusal.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | TEXT, lambda x: st.lists(x, max_size=3) | st.dictionaries(TEXT, x)
)
KEYS = ["messages", "prompt", "completion", "chosen", "rejected", "conversations", "instruction", "input", "output"]
KEYS += ["preferred_output", "non_preferred_output", "history", "system", "weight", "label", "kairos", "task_type"]
MESSAGE = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("role", "content", "from", "value", "weight", "tool_calls"), JSON)
)


@example({"messages": [{"role": []}]})
@example({"messages": [{"role": "user", "content": [{"type": {}}]}]})
@example({"conversations": [{"from": []}]})
@given(st.dictionaries(st.sampled_from(KEYS), JSON | MESSAGE | st.lists(MESSAGE, max_size=3)))
def test_any_object_is_a_row_or_is_refused(row: dict[str, Any]):
    try:
        found = of(row)
    except RowRefused:
        return
    assert found.messages
    assert found.answer.strip()
