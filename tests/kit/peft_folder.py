"""Writes small random adapters in PEFT's format for a real vLLM. The same seed gives the same adapter."""

from __future__ import annotations

import importlib
import json
import random
from pathlib import Path

RANK = 8


def write_peft(folder: Path, config: Path, seed: str, scale: float) -> None:
    """Write an adapter of the attention values of each layer; `config` is the base's config.json. Scale 0 gives an
    adapter that changes nothing."""
    numpy = importlib.import_module("numpy")
    save_file = importlib.import_module("safetensors.numpy").save_file  # installed with the extra `train`
    base = json.loads(config.read_text())
    width, heads = base["hidden_size"], base["num_attention_heads"]
    values = (base.get("head_dim") or width // heads) * (base.get("num_key_value_heads") or heads)
    chance = numpy.random.default_rng(random.Random(seed).getrandbits(31))
    tensors = {}
    for layer in range(base["num_hidden_layers"]):
        name = f"base_model.model.model.layers.{layer}.self_attn.v_proj"
        tensors[f"{name}.lora_A.weight"] = chance.normal(size=(RANK, width)).astype(numpy.float32)
        b = chance.normal(size=(values, RANK)) * scale / width**0.5
        tensors[f"{name}.lora_B.weight"] = b.astype(numpy.float32)
    save_file(tensors, str(folder / "adapter_model.safetensors"))
    settings = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": RANK}
    settings |= {"target_modules": ["v_proj"], "bias": "none", "lora_dropout": 0.0}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
