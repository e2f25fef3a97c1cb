"""Loads the base model in 4 bits (NF4, double quantisation) with its tokenizer, for LoRA training."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, GgufConfig

from kairos.fine_tuning.training.process.gguf_file import parsed_once
from kairos.fine_tuning.training.process.job import Job

COMPLETE = "complete"


def load(job: Job) -> tuple[Any, Any]:
    """Return model and tokenizer. A GGUF base is converted to transformers' format once and cached."""
    folder = _folder(job)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    _set_pad_token(tokenizer)
    on_gpu = torch.cuda.is_available()
    quantisation = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        # bf16 is 8 times slower than f32 on a CPU.
        bnb_4bit_compute_dtype=torch.bfloat16 if on_gpu else torch.float32,
    )
    options: dict[str, Any] = {"attn_implementation": attention()} if on_gpu else {}
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        quantization_config=quantisation,
        dtype=torch.bfloat16 if on_gpu else torch.float32,
        device_map={"": 0} if on_gpu else {"": "cpu"},
        **options,
    )
    keep_gradients(model)
    return model, tokenizer


def keep_gradients(model: Any) -> None:
    """Disable the repacking of 4-bit weights on CPUs with AVX512-BF16.

    bitsandbytes repacks them at the first forward pass in eval mode into a layout without gradients, and training then
    fails with only a warning.
    """
    import bitsandbytes

    for module in model.modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            module.support_avx512bf16_for_cpu = False


def _set_pad_token(tokenizer: Any) -> None:
    """Set a pad token different from the end token. Padding is masked in the loss, and the model must learn to stop."""
    if tokenizer.pad_token_id is not None and tokenizer.pad_token_id != tokenizer.eos_token_id:
        return
    spare = [tokenizer.unk_token, "<|endoftext|>", "<pad>", "<|pad|>"]
    known = tokenizer.get_vocab()
    for token in spare:
        if token and token in known and token != tokenizer.eos_token:
            tokenizer.pad_token = token
            return
    raise ValueError(f"the tokenizer has no token for padding except its end token {tokenizer.eos_token!r}")


def _folder(job: Job) -> Path:
    path = Path(job.base_path)
    if path.is_dir():
        return path
    cached = Path(job.base_cache) / job.base_sha256[:16]
    if not (cached / COMPLETE).exists():
        _from_gguf(path, cached)
    return cached


def _from_gguf(file: Path, cached: Path) -> None:
    part = cached.with_name(f"{cached.name}.{os.getpid()}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    with parsed_once():
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
        model = AutoModelForCausalLM.from_pretrained(
            file.parent, gguf_file=file.name, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
        )
    # Otherwise the dequantised weights would be saved as quantised ones.
    model.hf_quantizer = None
    model.is_quantized = False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(part)
    tokenizer.save_pretrained(part)
    AutoConfig.from_pretrained(part)
    (part / COMPLETE).touch()
    try:
        os.replace(part, cached)
    except OSError:  # another process created it meanwhile
        if not (cached / COMPLETE).exists():
            raise
        shutil.rmtree(part)


def attention() -> str:
    try:
        import flash_attn  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError:
        return "sdpa"
    return "flash_attention_2"
