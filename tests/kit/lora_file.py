"""Writes small random adapters of the embedded model, which change its answers. The same seed gives the same file."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

LAYERS, WIDTH, VALUES = 30, 576, 192
"""Dimensions of SmolLM2-135M: layers, hidden width, and width of the attention values."""


def write_lora(path: Path, seed: int, scale: float = 0.5, rank: int = 2, width: int = WIDTH) -> Path:
    """Write a GGUF adapter for the attention values of each layer. With another width it does not fit the model."""
    gguf, numpy = (importlib.import_module(name) for name in ("gguf", "numpy"))  # installed with the extra `train`
    chance = numpy.random.default_rng(seed)
    writer: Any = gguf.GGUFWriter(str(path), "llama")
    writer.add_string("general.type", "adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(rank))
    for layer in range(LAYERS):
        a, b = chance.normal(size=(rank, width)), chance.normal(size=(VALUES, rank)) * scale / WIDTH**0.5
        writer.add_tensor(f"blk.{layer}.attn_v.weight.lora_a", a.astype(numpy.float32))
        writer.add_tensor(f"blk.{layer}.attn_v.weight.lora_b", b.astype(numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
