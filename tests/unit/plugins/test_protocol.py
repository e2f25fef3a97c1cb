"""Results of `execute`, and their frames on the connection."""

from __future__ import annotations

import pytest

from kairos.plugins.base_plugin import Answer
from kairos.plugins.protocol import HEAD, MAX_RESULT, InvalidResult, frame, shape


def test_texts_dicts_lists_and_answers_are_results():
    assert shape("hello") == {"text": "hello"}
    assert shape({"ö": [1, None]}) == {"text": '{\n  "ö": [\n    1,\n    null\n  ]\n}'}
    assert shape([1]) == {"text": "[\n  1\n]"}
    assert shape(Answer("text", "model", number=3)) == {"answer": 3}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "returned nothing"),
        (7, "returned a int"),
        (b"x", "returned a bytes"),
        (object, "returned a type"),
        ("", "empty text"),
        (" \n", "empty text"),
        ("x" * (MAX_RESULT + 1), "at most"),
        ({"x": "y" * MAX_RESULT}, "at most"),
        ({"x": {1, 2}}, "not JSON serializable"),
        ({"x": float("nan")}, "not JSON serializable"),
        ("a\x00b", "cannot be stored"),
        ("a\ud800b", "cannot be stored"),
    ],
)
def test_other_values_are_invalid_results(value: object, message: str):
    with pytest.raises(InvalidResult, match=message):
        shape(value)


def test_value_that_contains_itself_is_an_invalid_result():
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(InvalidResult):
        shape(loop)


def test_frame_consists_of_its_length_and_its_json():
    framed = frame({"a": 1})
    assert HEAD.unpack(framed[: HEAD.size]) == (len(framed) - HEAD.size,)
    with pytest.raises(ValueError):
        frame({"a": float("inf")})
