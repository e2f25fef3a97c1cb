"""A PEFT adapter as the GGUF file that llama.cpp and Ollama load.

After llama.cpp's convert_lora_to_gguf.py: tensors `blk.N.NAME.weight.lora_a|lora_b` in PEFT's layout; for models of the
llama architecture the rows of lora_b of q and k are reordered as their weights are (rotary halves interleaved).
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import gguf
import numpy
from safetensors.torch import load_file

NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
PERMUTED = {"llama", "mistral"}
"""Model types whose q and k weights llama.cpp reorders."""
ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "phi3": "phi3"}
KEY = re.compile(r"^base_model\.model\.model\.layers\.(\d+)\.(.+)\.lora_([AB])\.weight$")


class CannotConvert(ValueError):
    """The adapter has a feature that GGUF adapters do not support."""


def convert(adapter: Path, model_config: dict[str, Any], target: Path) -> int:
    """Convert PEFT's folder to the file `target`. Returns the number of tensors. Raises `CannotConvert`."""
    settings = json.loads((adapter / "adapter_config.json").read_text())
    _refuse_unknown(settings)
    kind = model_config["model_type"]
    if kind not in ARCHITECTURES:
        raise CannotConvert(f"the model type {kind!r} is not supported; supported: {', '.join(sorted(ARCHITECTURES))}")
    writer = gguf.GGUFWriter(str(target), ARCHITECTURES[kind])
    writer.add_string("general.type", "adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(settings["lora_alpha"]))
    heads = model_config["num_attention_heads"]
    tensors = load_file(str(adapter / "adapter_model.safetensors"))
    for key, values in sorted(tensors.items()):
        name, part = _name(key)
        data = values.float().numpy()  # numpy has no bfloat16
        if kind in PERMUTED and part == "b" and name.endswith(("attn_q", "attn_k")):
            data = permute(data, heads if name.endswith("attn_q") else model_config.get("num_key_value_heads") or heads)
        writer.add_tensor(f"{name}.weight.lora_{part}", numpy.ascontiguousarray(data))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return len(tensors)


def permute(rows: numpy.ndarray, heads: int) -> numpy.ndarray:
    """Reorder the rows of each head from (half, pair) to (pair, half), llama.cpp's order of rotary weights."""
    return rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def _name(key: str) -> tuple[str, str]:
    match = KEY.match(key)
    if match is None or match[2] not in NAMES:
        raise CannotConvert(f"the tensor {key!r} has no counterpart in a GGUF adapter")
    return f"blk.{match[1]}.{NAMES[match[2]]}", match[3].lower()


def _refuse_unknown(settings: dict[str, Any]) -> None:
    for name, feature in (("use_dora", "DoRA"), ("use_rslora", "rsLoRA"), ("modules_to_save", "modules_to_save")):
        if settings.get(name):
            raise CannotConvert(f"{feature} cannot be written as a GGUF adapter: train without it")
    if settings.get("bias", "none") != "none":
        raise CannotConvert("trained biases cannot be written as a GGUF adapter: train with bias='none'")
