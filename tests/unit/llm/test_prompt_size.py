"""Estimates of a prompt's tokens. Counts of real Ollama with SmolLM2 lie between the bounds."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kairos.llm.calls import prompt_size
from kairos.llm.calls.answer_limits import PromptTooLong, fitted
from kairos.llm.calls.prompt_cut import ModelPromptCut, check_prompt
from kairos.llm.calls.prompt_size import (
    CACHE_SIZE,
    LARGE,
    SMALL,
    prompt_lower_bound,
    prompt_upper_bound,
    token_lower_bound,
    token_upper_bound,
    vocabulary_of,
)
from kairos.llm.calls.providers import ChatRequest, Completion, Usage
from kairos.llm.calls.refused_limits import refused_context
from kairos.llm.catalog.catalog import EMBEDDED_MODEL, AdapterHost, Model

COUNTED = {
    "The quick brown fox jumps over the lazy dog while international organizations deliberate about environmental "
    "responsibilities. ": 137,
    "Öğrencilerimizden bazıları, İstanbul'un kalabalık sokaklarında yürürken şaşkınlıkla çevrelerine bakıyorlardı; "
    "çünkü gördükleri hiçbir şeye benzemiyordu. ": 674,
    "Ogrencilerimizden bazilari kalabalik sokaklarinda yururken saskinlikla cevrelerine bakiyorlardi cunku gordukleri "
    "hicbir seye benzemiyordu. ": 481,
    "Die Donaudampfschifffahrtsgesellschaft veröffentlichte überraschenderweise außergewöhnliche "
    "Geschäftsergebnisse. ": 369,
    "人工智能正在改变我们的生活方式，越来越多的企业开始使用大型语言模型来提高工作效率。": 568,
    "人工知能は私たちの生活を大きく変えつつあり、多くの企業が大規模言語モデルを利用しています。": 624,
    "인공지능은 우리의 생활을 크게 변화시키고 있으며 많은 기업이 대규모 언어 모델을 사용하고 있습니다. ": 928,
    "الذكاء الاصطناعي يغير حياتنا بشكل كبير والعديد من الشركات تستخدم نماذج لغوية كبيرة. ": 681,
    "Искусственный интеллект меняет нашу жизнь, и многие компании используют большие языковые модели. ": 561,
}
"""Tokens of eight copies of each text, counted by Ollama 0.17.4 (`usage.prompt_tokens` less those of no prompt)."""
OTHERS = [
    ("🎉🏛️👩‍👩‍👧‍👦🚀😀🇹🇷" * 30, 1110),
    (" ".join(str(i * 7919 % 100003) for i in range(400)), 2351),
    (("x" + " " * 40) * 40, 120),
    ("a\n\n\n\n" * 100, 299),
    ("!@#$%^&*()_+{}|:<>?-=[]\\;',./~`" * 30, 750),
    ("=" * 800, 13),
]
TEXTS = [*((text * 8, tokens) for text, tokens in COUNTED.items()), *OTHERS]
TURKISH, COMMON_WORDS = TEXTS[2], TEXTS[12]


@pytest.mark.parametrize(("text", "tokens"), TEXTS)
def test_counts_of_a_real_tokenizer_lie_between_the_estimates(text: str, tokens: int):
    assert token_lower_bound(text) <= tokens <= token_upper_bound(text, SMALL)


@given(st.text(max_size=300))
def test_no_text_has_more_tokens_in_a_large_vocabulary_than_in_a_small_one(text: str):
    assert token_upper_bound(text, LARGE) <= token_upper_bound(text, SMALL)


@given(st.lists(st.sampled_from(TEXTS), min_size=1))
@example([TURKISH, TURKISH, COMMON_WORDS])
def test_upper_bound_holds_for_mixed_languages(texts: list[tuple[str, int]]):
    joined = "\n".join(text for text, _ in texts)
    assert token_upper_bound(joined, SMALL) >= sum(tokens for _, tokens in texts)


@pytest.mark.parametrize("text", list(COUNTED))
def test_other_models_have_a_large_vocabulary(text: str):
    """Their vocabularies need about one token per character at most, including spaces and punctuation."""
    assert token_upper_bound(text * 8, LARGE) <= 1.2 * len(text * 8)
    assert vocabulary_of(CLOUD) is vocabulary_of(LOCAL) is LARGE


def test_embedded_model_and_its_adapters_have_a_small_vocabulary():
    embedded = replace(LOCAL, name=EMBEDDED_MODEL, adapter_host=AdapterHost.EMBEDDED)
    adapter = replace(embedded, name="a", base=EMBEDDED_MODEL, adapter_host=None)
    assert vocabulary_of(embedded) is vocabulary_of(adapter) is SMALL


def test_chinese_prompt_that_fits_a_large_vocabulary_is_sent():
    request = ChatRequest(({"role": "user", "content": list(COUNTED)[4] * 100},), max_tokens=500)
    sent, _ = fitted(LOCAL, request, 8192, 500)
    assert sent.messages == request.messages
    with pytest.raises(PromptTooLong):
        fitted(replace(LOCAL, adapter_host=AdapterHost.EMBEDDED), request, 8192, 500)


def test_upper_bound_of_english_is_less_than_twice_its_size():
    assert token_upper_bound(next(iter(COUNTED)) * 8) < 2 * 137


@given(st.text(max_size=300), st.text(max_size=300))
def test_estimates_are_ordered_and_grow_with_the_text(first: str, second: str):
    assert 0 <= token_lower_bound(first) <= max(1, 2 * token_upper_bound(first))
    assert token_upper_bound(f"{first}\n{second}") + 1 >= token_upper_bound(second) * 0.3


@given(st.text(max_size=2_000))
def test_any_text_has_at_most_four_tokens_per_character(text: str):
    assert token_upper_bound(text) <= 4 * len(text) + 1


def test_text_of_megabytes_is_measured_in_slices():
    text = next(iter(COUNTED)) * 16_000
    began = time.perf_counter()
    most = token_upper_bound(text)
    assert time.perf_counter() - began < 2, "measuring the whole text would take much longer"
    assert 137 * 2_000 < most < 3 * 137 * 2_000
    assert token_lower_bound(text) < 137 * 2_000


@pytest.mark.parametrize("copies", [100, 16_000])
def test_long_text_is_measured_once_per_vocabulary(monkeypatch: pytest.MonkeyPatch, copies: int):
    text = f"{next(iter(COUNTED)) * copies}{copies}"
    first = token_upper_bound(text, LARGE), token_upper_bound(text, SMALL)
    monkeypatch.setattr(prompt_size, "_measured", None)
    assert (token_upper_bound(text, LARGE), token_upper_bound(text, SMALL)) == first


def test_number_of_cached_estimates_is_limited():
    for number in range(CACHE_SIZE + 10):
        token_upper_bound(f"{number:05} " * 400)
    assert len(prompt_size._cache) == CACHE_SIZE


def test_parts_of_messages_and_tools_are_counted():
    parts = ({"role": "user", "content": [{"type": "text", "text": "one two"}, {"type": "image_url"}]},)
    assert prompt_lower_bound(parts) == 2
    assert prompt_upper_bound(parts, ({"type": "function", "function": {"name": "f" * 50}},)) > prompt_upper_bound(
        parts
    )
    assert prompt_upper_bound(({"role": "assistant", "content": None, "tool_calls": [{"id": "x" * 50}]},)) > 40


LONG = ChatRequest(({"role": "user", "content": next(iter(COUNTED)) * 80},))
"""1,370 tokens."""
LOCAL = Model("m", "m", "http://127.0.0.1:1/v1", local=True)
CLOUD = Model("m", "m", "https://cloud.test/v1")


def answer(read: int) -> Completion:
    return Completion("half", "stop", Usage(read, 3), 0.1, 0.2, "m")


@pytest.mark.parametrize(
    ("model", "read", "context", "served", "learned"),
    [
        (LOCAL, 4096, 8192, 4096, None),
        (LOCAL, 512, 8192, None, 512),
        (CLOUD, 512, 8192, None, 512),
        (LOCAL, 300, 8192, None, None),
        (LOCAL, 1024, 8192, 1024, 1024),
        (LOCAL, 2048, 8192, None, 2048),
        (LOCAL, 1024, 1024, None, 1024),
    ],
)
def test_cut_prompt_is_detected_by_the_token_count(
    model: Model, read: int, context: int, served: int | None, learned: int | None
):
    request = ChatRequest(({"role": "user", "content": LONG.messages[0]["content"] * 4},)) if read > 1500 else LONG
    with pytest.raises(ModelPromptCut) as caught:
        check_prompt(model, request, answer(read), context, served)
    assert caught.value.context == (served if learned is None else learned)
    assert (caught.value.infrastructure, caught.value.partial) == (False, "half")


@pytest.mark.parametrize(
    ("model", "read", "context", "served"),
    [
        (LOCAL, 1370, 8192, 4096),
        (LOCAL, 0, 8192, 4096),
        (LOCAL, -5, 8192, None),
        (LOCAL, 900, 8192, None),
        (CLOUD, 2048, 8192, None),
        (LOCAL, 2048, 8192, 16384),
        (LOCAL, 9000, 8192, 8192),
    ],
)
def test_other_token_counts_are_not_a_cut(model: Model, read: int, context: int, served: int | None):
    check_prompt(model, LONG, answer(read), context, served)


def test_short_prompt_is_never_considered_cut():
    short = ChatRequest(({"role": "user", "content": "What is the capital of Italy, please?"},))
    check_prompt(LOCAL, short, answer(1), 8192, None)


@pytest.mark.parametrize(
    ("message", "context"),
    [
        ("This model's maximum context length is 4096 tokens. However, you requested 5000", 4096),
        ("the request exceeds the available context size (2048 tokens)", 2048),
        ("max model len is 32768", 32768),
        ("Trying to keep the first 5000 tokens when context length is only 4096 tokens", 4096),
        ("n_ctx = 1024", 1024),
        ("Prompt contains 50 tokens, too large for model with 32768 maximum context length", 32768),
        ("`inputs` tokens + `max_new_tokens` must be <= 8192. Given: 50 `inputs` tokens and 16384", 8192),
        ("Your request exceeded model token limit: 8192 (requested: 16500)", 8192),
        ("maximum context length is 5 tokens", None),
        ("temperature must be at most 2", None),
        ("", None),
    ],
)
def test_context_is_read_from_a_refusal(message: str, context: int | None):
    assert refused_context(message) == context
