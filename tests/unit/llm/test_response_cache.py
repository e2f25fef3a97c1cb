"""Keys of cached answers, requests that may be served from the cache, and the stored form of answers."""

from dataclasses import replace
from types import MappingProxyType
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kairos.llm.answers.answer import Completion, Usage
from kairos.llm.cache.cached_answer import COMPRESSED_FROM, CachedAnswer
from kairos.llm.cache.response_key import CacheUse, cache_key, cache_use, catalog_version, fingerprint, model_version
from kairos.llm.calls.providers import ChatRequest
from kairos.llm.catalog.catalog import Model, Price
from kairos.tenancy import ProjectId

PROJECT = ProjectId(uuid4())
ASK = ChatRequest(messages=({"role": "user", "content": "What is a lease?"},), temperature=0)
FULL, REFRESH, OFF = CacheUse.FULL, CacheUse.REFRESH, CacheUse.OFF

texts = st.text(st.characters(codec="utf-8"), max_size=8)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(texts, json_values, min_size=1, max_size=3)
# Values in which requests may differ. Each is drawn twice; requests that differ must have different keys.
ingredients = st.fixed_dictionaries(
    {
        "project": st.uuids(),
        "messages": st.lists(objects, min_size=1, max_size=3),
        "temperature": st.none() | st.floats(0, 2),
        "max_tokens": st.none() | st.integers(1, 9999),
        "response_format": st.none() | objects,
        "stop": st.lists(texts, max_size=2),
        "seed": st.none() | st.integers(0, 99),
        "tools": st.lists(objects, max_size=2),
        "extra": st.dictionaries(st.sampled_from(["top_p", "n", "logit_bias"]), st.integers(0, 9), max_size=2),
        "model": st.none() | texts,
        "version": texts,
        "rules": texts,
        "checks": st.none() | objects,
    }
)


def key_of(parts: dict[str, Any]) -> bytes:
    request = ChatRequest(
        messages=tuple(parts["messages"]),
        temperature=parts["temperature"],
        max_tokens=parts["max_tokens"],
        response_format=parts["response_format"],
        stop=tuple(parts["stop"]),
        seed=parts["seed"],
        tools=tuple(parts["tools"]),
        extra=parts["extra"],
    )
    named = {name: parts[name] for name in ("model", "version", "rules", "checks")}
    return fingerprint(ProjectId(parts["project"]), request, **named)


def shuffled(value: Any) -> Any:
    """Return the same value with the members of every object in reverse order."""
    if isinstance(value, dict):
        return {name: shuffled(value[name]) for name in reversed(value)}
    return [shuffled(item) for item in value] if isinstance(value, list) else value


@given(ingredients, ingredients, st.data())
def test_change_of_any_single_ingredient_changes_the_key(one: dict, other: dict, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(one)))
    assume(repr(shuffled_sorted(one[name])) != repr(shuffled_sorted(other[name])))
    assert key_of(one) != key_of({**one, name: other[name]})


def shuffled_sorted(value: Any) -> Any:
    """Return a form that is equal for equal JSON: it ignores the order of members and the sign of zero."""
    if isinstance(value, dict):
        return sorted((name, repr(shuffled_sorted(item))) for name, item in value.items())
    if isinstance(value, list):
        return [shuffled_sorted(item) for item in value]
    return abs(value) if isinstance(value, float) and value == 0 else value


@given(ingredients)
def test_order_of_members_does_not_change_the_key(parts: dict) -> None:
    assert key_of(parts) == key_of(shuffled(parts))


def test_value_of_one_ingredient_is_not_taken_for_another() -> None:
    by = {"version": "1", "rules": "2"}
    assert fingerprint(PROJECT, ASK, model="ab", **by) != fingerprint(PROJECT, ASK, model="a", version="b1", rules="2")
    assert fingerprint(PROJECT, ASK, model=None, **by) != fingerprint(PROJECT, ASK, model="null", **by)


def test_all_notations_of_zero_have_the_same_key() -> None:
    keys = [key(replace(ASK, temperature=zero)) for zero in (0, 0.0, -0.0)]
    keys += [key(replace(ASK, temperature=None, extra={"temperature": 0}))]
    assert len(set(keys)) == 1


def test_extra_overrides_fields_as_in_the_sent_request() -> None:
    assert key(replace(ASK, seed=1, extra={"seed": 2})) == key(replace(ASK, seed=2))


def test_any_mapping_type_has_the_same_key() -> None:
    frozen = tuple(MappingProxyType(dict(message)) for message in ASK.messages)
    assert key(replace(ASK, messages=frozen)) == key(ASK)


def test_request_that_is_not_json_has_no_key() -> None:
    assert key(replace(ASK, extra={"x": object()})) is None
    assert key(replace(ASK, messages=({"role": "user", "content": "\ud800"},))) is None


def test_only_keys_without_a_named_model_follow_the_routing_epoch() -> None:
    auto, named = key(ASK), cache_key(PROJECT, ASK, model="tiny", version="1", rules="1")
    assert auto is not None
    assert named is not None
    assert auto.follows_routing
    assert not named.follows_routing


def key(request: ChatRequest) -> Any:
    return cache_key(PROJECT, request, model=None, version="1", rules="1")


@pytest.mark.parametrize(
    ("temperature", "extra", "cache", "header", "use"),
    [
        (0, {}, None, None, FULL),
        (0.0, {}, None, "max-age=60", FULL),
        (None, {}, None, None, OFF),
        (0.7, {}, None, None, OFF),
        (0.7, {}, True, None, FULL),
        (0, {"temperature": 1}, None, None, OFF),
        (None, {"temperature": 0}, None, None, FULL),
        (None, {"temperature": False}, None, None, OFF),
        (None, {"temperature": "0"}, None, None, OFF),
        (0, {}, False, None, OFF),
        (0, {}, False, "no-cache", OFF),
        (0, {}, None, "no-cache", REFRESH),
        (0, {}, None, "max-age=0", REFRESH),
        (0, {}, None, "Max-Age=9, No-Cache", REFRESH),
        (0, {}, None, "no-cache, no-store", OFF),
        (0, {}, True, "no-store", OFF),
        (0.7, {}, True, "no-cache", REFRESH),
        (0.7, {}, None, "no-cache", OFF),
    ],
)
def test_cache_use_by_temperature_and_headers(
    temperature: float | None, extra: dict, cache: bool | None, header: str | None, use: CacheUse
) -> None:
    assert cache_use(replace(ASK, temperature=temperature, extra=extra), cache, header) is use


def test_version_of_a_model_changes_with_values_that_affect_answers() -> None:
    model = Model("tiny", "tiny:1b", "http://host/v1", specialties=frozenset({"a", "b"}))
    same = replace(model, specialties=frozenset({"b", "a"}), api_key="rotated", price=Price(1, 2))
    assert model_version(model) == model_version(same)
    changed = [replace(model, upstream="tiny:2b"), replace(model, base_url="http://other/v1"), replace(model, name="t")]
    versions = [model_version(model), model_version(model, "adapter-2"), *map(model_version, changed)]
    assert len(set(versions)) == len(versions)


def test_catalog_version_does_not_depend_on_the_order_of_models() -> None:
    one, two = Model("one", "one", "http://host/v1"), Model("two", "two", "http://host/v1")
    assert catalog_version([one, two]) == catalog_version([two, one])
    assert len({catalog_version([one, two]), catalog_version([one]), catalog_version([])}) == 3


answers = st.builds(
    CachedAnswer,
    text=st.text(st.characters(codec="utf-8")) | st.just("long " * COMPRESSED_FROM),
    finish_reason=st.none() | st.sampled_from(["stop", "tool_calls"]),
    usage=st.none() | st.builds(Usage, st.integers(0, 10**9), st.integers(0, 10**9)),
    model=texts,
    cost_usd=st.none() | st.floats(0, 100),
    duration_s=st.floats(0, 1e5),
    decision_id=st.uuids(),
    served_by=st.none() | texts,
    tool_calls=st.lists(objects, max_size=2).map(tuple),
    reasoning=st.just("") | texts,
)


@given(answers)
def test_answer_survives_a_round_trip(answer: CachedAnswer) -> None:
    assert CachedAnswer.unpack(answer.pack()) == answer


def test_reasoning_is_stored_with_the_answer() -> None:
    given = Completion("42", "stop", None, 0.1, 1.0, "up", (), "six times seven")
    kept = CachedAnswer.of(given, model="tiny", cost_usd=None, decision_id=uuid4())
    assert CachedAnswer.unpack(kept.pack()).completion().reasoning == "six times seven"


def test_long_answer_is_stored_compressed() -> None:
    text = "a lease is a promise with an end; " * 1000
    answer = CachedAnswer(text, "stop", None, "tiny", None, 1.0, uuid4())
    assert len(answer.pack()) < len(text) / 10


@pytest.mark.parametrize("packed", [b"", b"j", b"zz", b"j[]", b"j{}", b"j[1,2,3,4,5,6,7,8,9,10]", b'j["t",1,2]'])
def test_invalid_bytes_raise_value_error(packed: bytes) -> None:
    with pytest.raises(ValueError):
        CachedAnswer.unpack(packed)


def test_completion_is_restored_without_its_duration() -> None:
    original = Completion("hi", "stop", Usage(3, 4), 0.2, 1.5, "tiny-2026", ({"id": "1"},))
    answer = CachedAnswer.of(original, model="tiny", cost_usd=0.5, decision_id=uuid4())
    assert answer.duration_s == 1.5
    assert answer.completion() == replace(original, first_token_s=None, duration_s=0.0)
