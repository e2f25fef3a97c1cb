"""Faster reading of GGUF files by transformers, which parses a file three times to load it: for the tokenizer, the
configuration and the weights. A vocabulary of 49,152 tokens took 8 s of CPU time each time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import gguf
import numpy


class PlainReader(gguf.GGUFReader):
    """Reads the mapped file through a plain array: each of a million slices of a `numpy.memmap` is a Python object
    that copies the attributes of the file."""

    @property
    def data(self) -> numpy.ndarray[Any, Any]:
        return self._plain

    @data.setter
    def data(self, mapped: numpy.ndarray[Any, Any]) -> None:
        self._plain = numpy.asarray(mapped)


@contextmanager
def parsed_once() -> Iterator[None]:
    """While the block runs, transformers gets one reader per file and one map of tensor names per architecture.

    Neither is changed by its users.
    """
    before = gguf.GGUFReader, gguf.get_tensor_name_map
    gguf.GGUFReader, gguf.get_tensor_name_map = cache(PlainReader), cache(gguf.get_tensor_name_map)  # pyright: ignore
    try:
        yield
    finally:
        gguf.GGUFReader, gguf.get_tensor_name_map = before  # pyright: ignore
