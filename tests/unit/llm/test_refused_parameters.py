"""Refusals as real servers phrase them, and the request that replaces the refused one."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from kairos.llm.calls.adjustments import Adjustments, SchemaForm, adjusted
from kairos.llm.calls.refused_parameters import AdjustmentStep, ParameterRefusal, next_adjustment

SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "answer",
        "strict": True,
        "schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
BODY: dict[str, Any] = {
    "model": "m",
    "messages": [{"role": "system", "content": "Be short."}, {"role": "user", "content": "temperature unsupported"}],
    "stream": True,
    "stream_options": {"include_usage": True},
    "temperature": 0.0,
    "max_tokens": 100,
    "top_p": 0.5,
    "stop": ["\n"],
    "seed": 7,
    "logprobs": True,
    "parallel_tool_calls": False,
    "response_format": SCHEMA,
    "tools": [{"type": "function", "function": {"name": "f"}}],
}


def openai(message: str, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}


def extra(*names: str) -> dict[str, Any]:
    return {
        "detail": [
            {"type": "extra_forbidden", "loc": ["body", n], "msg": "Extra inputs are not permitted"} for n in names
        ]
    }


def step(
    body: object, status: int = 400, changes: Adjustments = Adjustments(), sent: Any = None, own_limit: bool = False
):
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return next_adjustment(sent or BODY, changes, ParameterRefusal.of(status, raw), own_limit=own_limit)


@pytest.mark.parametrize(
    ("status", "refusal", "name"),
    [
        (400, openai("Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) value"
                     " is supported.", "temperature", "unsupported_value"), "temperature"),
        (400, openai("Unsupported parameter: 'temperature' is not supported with this model.", "temperature"),
         "temperature"),
        (400, openai("Unrecognized request argument supplied: stream_options"), "stream_options"),
        (400, openai("Unrecognized request arguments supplied: seed, top_p"), "seed"),
        (400, openai("Unknown parameter: 'logprobs'.", "logprobs", "unknown_parameter"), "logprobs"),
        (400, openai("property 'parallel_tool_calls' is unsupported"), "parallel_tool_calls"),
        (400, openai("`temperature` and `top_p` cannot both be specified for this model."), "top_p"),
        (400, openai("`temperature` may only be set to 1 when thinking is enabled."), "temperature"),
        (400, openai("`temperature` is deprecated for this model."), "temperature"),
        (422, extra("stream_options"), "stream_options"),
        (422, {"object": "error", "message": extra("seed"), "type": "invalid_request_error"}, "seed"),
        (400, {"object": "error", "message": "[{'type': 'extra_forbidden', 'loc': ('body', 'stream_options'), 'msg': "
               "'Extra inputs are not permitted', 'input': {'include_usage': True}}]", "type": "BadRequestError"},
         "stream_options"),
        (400, {"error": "json: unknown field \"seed\""}, "seed"),
        (400, {"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": "Invalid JSON payload received. Unknown "
               "name \"streamOptions\": Cannot find field."}}, "stream_options"),
        (400, [{"error": {"code": 400, "message": "Unknown name \"seed\": Cannot find field."}}], "seed"),
        (400, {"error": {"message": "litellm.UnsupportedParamsError: m does not support parameters: ['seed'], for "
               "model=m."}}, "seed"),
        (500, {"error": {"message": "litellm.UnsupportedParamsError: m does not support parameters: ['top_p']"}},
         "top_p"),
        (400, {"detail": "Additional properties are not allowed ('logprobs' was unexpected)"}, "logprobs"),
        (400, {"message": "stop is not supported by this model"}, "stop"),
        (400, b"temperature: Extra inputs are not permitted", "temperature"),
        (501, {"error": {"message": "logprobs is not implemented"}}, "logprobs"),
    ],
)  # fmt: skip
def test_unsupported_parameter_is_omitted(status: int, refusal: object, name: str):
    found = step(refusal, status)
    assert found is not None
    assert set(BODY) - set(adjusted(BODY, found.changes)) == {name}
    assert found.permanent is (name != "top_p" or "both" not in str(refusal))


@pytest.mark.parametrize("refusal", [
    openai("Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' "
           "instead.", "max_tokens", "unsupported_parameter"),
    openai("Unrecognized request argument supplied: max_tokens"),
    extra("max_tokens"),
])  # fmt: skip
def test_answer_limit_is_sent_under_its_other_name_and_then_omitted(refusal: dict[str, Any]):
    first = step(refusal)
    assert first is not None
    sent = adjusted(BODY, first.changes)
    assert (sent.get("max_completion_tokens"), "max_tokens" in sent) == (100, False)
    second = step(openai("Unknown parameter: 'max_completion_tokens'."), changes=first.changes)
    assert second is not None
    assert not {"max_tokens", "max_completion_tokens"} & set(adjusted(BODY, second.changes))


@pytest.mark.parametrize(("refusal", "allowed"), [
    (openai("max_tokens is too large: 16384. This model supports at most 4096 completion tokens, whereas you "
            "provided 16384.", "max_tokens", "invalid_value"), 4096),
    (openai("Invalid max_tokens value, the valid range of max_tokens is [1, 8192]"), 8192),
    (openai("<400> InternalError.Algo.InvalidParameter: Range of max_tokens should be [1, 8192]",
            code="invalid_parameter_error"), 8192),
    (openai("max_tokens: 16384 > 8192, which is the maximum allowed number of output tokens for "
            "claude-3-5-sonnet-20241022"), 8192),
    (openai("max_tokens: 16384 > 4096, which is the maximum allowed number of output tokens for "
            "claude-3-haiku-20240307"), 4096),
    (openai("`max_tokens` must be less than or equal to `8192`, the maximum value for `max_tokens` is less than the "
            "`context_window` for this model", "max_tokens"), 8192),
    ([{"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": "Unable to submit request because it has a "
       "maxOutputTokens value of 16384 but the supported range is from 1 (inclusive) to 8193 (exclusive). Update the "
       "value and try again."}}], 8192),
    (openai("maxOutputTokens value of 16384 but the supported range is from 1 (inclusive) to 8192 (inclusive)"), 8192),
    ({"detail": [{"type": "less_than_equal", "loc": ["body", "max_tokens"], "msg": "Input should be less than or equal "
                  "to 8192", "input": 16384, "ctx": {"le": 8192}}]}, 8192),
    ({"object": "error", "message": "max_tokens must be at most 8192, got 16384.", "type": "BadRequestError"}, 8192),
    (openai("max_tokens: 限制 [1, 4095]", code="1214"), 4095),
    ({"message": "too many tokens: max tokens must be less than or equal to 4096, the maximum output for this model - "
      "received 16384."}, 4096),
    ({"message": "The maximum tokens you requested exceeds the model limit of 4096."}, 4096),
    (openai("max_completion_tokens cannot be greater than 8,192"), 8192),
    (openai("max_tokens must be between 1 and 8192"), 8192),
    (openai("max_tokens should be less than 8193 for model llama-70b"), 8192),
    (openai("The maximum number of output tokens (max_tokens) for this model is 8192"), 8192),
])  # fmt: skip
@pytest.mark.parametrize("own_limit", [True, False])
def test_answer_limit_above_the_servers_maximum_is_lowered(refusal: object, allowed: int, own_limit: bool):
    found = step(refusal, sent={**BODY, "max_tokens": 16384}, own_limit=own_limit)
    assert found is not None
    assert found == AdjustmentStep(Adjustments(answer_tokens=allowed), permanent=True)
    assert adjusted({**BODY, "max_tokens": 16384}, found.changes)["max_tokens"] == allowed
    assert adjusted(BODY, found.changes)["max_tokens"] == 100


@pytest.mark.parametrize("refusal", [
    openai("max_tokens is too large"),
    openai("max_tokens参数非法", code="1210"),
    openai("max_tokens must be greater than thinking.budget_tokens"),
    {"detail": [{"type": "value_error", "loc": ["body", "max_tokens"], "msg": "Value error"}]},
    openai("max_tokens (16384) is larger than the context window"),
])  # fmt: skip
def test_default_answer_limit_refused_without_a_maximum_is_omitted(refusal: object):
    sent = {**BODY, "max_tokens": 16384}
    found = step(refusal, sent=sent, own_limit=True)
    assert found == AdjustmentStep(Adjustments(dropped=frozenset({"max_tokens"})), permanent=False)
    assert step(refusal, sent=sent) is None


@pytest.mark.parametrize(
    ("refusal", "form", "permanent"),
    [
        (openai("Invalid schema for response_format 'answer': In context=(), 'additionalProperties' is required to be "
                "supplied and to be false.", "response_format"), SchemaForm.SCHEMA, False),
        (openai("Invalid schema for response_format 'answer': In context=(), 'required' is required to be supplied and "
                "to be an array including every key in properties.", "response_format"), SchemaForm.SCHEMA, False),
        (extra("response_format.json_schema.strict"), SchemaForm.SCHEMA, True),
        (openai("Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model.",
                "response_format"), SchemaForm.OBJECT, True),
        (openai("This response_format type is unavailable now"), SchemaForm.OBJECT, True),
        (openai("This model does not support response format `json_schema`."), SchemaForm.OBJECT, True),
        (openai("response_format value as json_schema is enabled only for api versions 2024-08-01-preview and later"),
         SchemaForm.OBJECT, True),
        (openai("Unrecognized request argument supplied: response_format"), SchemaForm.NONE, True),
        (extra("response_format"), SchemaForm.NONE, True),
    ],
)  # fmt: skip
def test_refused_schema_is_sent_in_a_weaker_form(refusal: dict[str, Any], form: SchemaForm, permanent: bool):
    found = step(refusal)
    assert found is not None
    assert (found.changes.schema_form, found.changes.dropped, found.permanent) == (form, frozenset(), permanent)


def test_schema_is_finally_omitted():
    strict = step(openai("structured output with json_schema is not supported"))
    assert strict is not None
    assert adjusted(BODY, strict.changes)["response_format"] == {"type": "json_object"}
    last = step({"error": "'response_format.type' must be 'json_schema' or 'text'"}, changes=strict.changes)
    assert last is not None
    assert "response_format" not in adjusted(BODY, last.changes)


def test_json_object_is_not_requested_for_a_schema_of_another_type():
    listed = {**SCHEMA, "json_schema": {"name": "answer", "schema": {"type": "array", "items": {}}}}
    found = step(openai("json_schema is not supported"), sent={**BODY, "response_format": listed})
    assert found is not None
    assert found.changes.schema_form is SchemaForm.NONE


@pytest.mark.parametrize("refusal", [
    {"object": "error", "message": "System role not supported", "type": "BadRequestError", "param": None, "code": 400},
    openai("Unsupported value: 'messages[0].role' does not support 'system' with this model.", "messages[0].role"),
    openai("Developer instruction is not enabled for models/gemma-3-27b-it"),
    openai("Conversation roles must alternate user/assistant/user/assistant/..."),
])  # fmt: skip
def test_unsupported_system_message_is_prepended_to_the_users(refusal: dict[str, Any]):
    found = step(refusal)
    assert found is not None
    assert found.changes == Adjustments(folds_system=True)
    assert adjusted(BODY, found.changes)["messages"] == [
        {"role": "user", "content": "Be short.\n\ntemperature unsupported"}
    ]


def test_model_that_may_not_stream_is_called_without_streaming():
    found = step(openai("Your organization must be verified to stream this model.", "stream", "unsupported_value"))
    assert found is not None
    sent = adjusted(BODY, found.changes)
    assert (sent["stream"], "stream_options" in sent) == (False, False)


@pytest.mark.parametrize(
    ("status", "refusal"),
    [
        (400, openai("Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 5.",
                     "temperature", "decimal_above_max_value")),
        (400, openai("temperature: range: 0..1")),
        (400, openai("Unsupported parameter: 'tools'", "tools")),
        (400, openai("Unsupported value: 'messages[1].content' is not supported", "messages[1].content")),
        (400, openai("The model `m` does not support this request", "model")),
        (400, openai("This model's maximum context length is 4096 tokens. However, you requested 5000 tokens (3000 in "
                     "the messages, 2000 in the completion).", "messages", "context_length_exceeded")),
        (400, {"object": "error", "message": "[{'type': 'missing', 'loc': ('body', 'messages'), 'msg': 'Field required'"
               ", 'input': {'temperature': 'unsupported'}}]"}),
        (400, b""), (400, b"<html>Bad Request</html>"), (400, {"error": {"message": "Bad request"}}),
        (401, openai("Unsupported parameter: 'temperature'", "temperature")),
        (429, openai("temperature is not supported at this rate", "temperature")),
        (500, openai("Unsupported parameter: 'temperature'", "temperature")),
    ],
)  # fmt: skip
def test_other_refusals_cause_no_adjustment(status: int, refusal: object):
    assert step(refusal, status) is None


def test_echoed_prompt_in_a_refusal_is_ignored():
    refusal = {"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted",
                        "input": "temperature top_p are unsupported"}]}  # fmt: skip
    found = step(refusal, 422)
    assert found is not None
    assert found.changes.dropped == {"seed"}
