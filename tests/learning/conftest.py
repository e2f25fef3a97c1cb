"""A base model that trains in seconds: two layers of random weights with the tokenizer of the embedded model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kairos.embedded.model import check_weights
from kairos.fine_tuning.training.process.job import Example, Job, TrainingSettings

QUICK = TrainingSettings(epochs=4, batch=2, rank=4, alpha=8, learning_rate=5e-3, checkpoint_steps=2, threads=1)


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the base model."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from kairos.fine_tuning.training.process.gguf_file import parsed_once

    folder, weights = tmp_path_factory.mktemp("tiny"), check_weights()
    with parsed_once():
        tokenizer: Any = AutoTokenizer.from_pretrained(weights.parent, gguf_file=weights.name)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def job(tiny_base: Path, tmp_path: Path) -> Job:
    """A training job on the tiny base model."""
    return Job("tiny", str(tiny_base), "0" * 64, str(tmp_path / "bases"), QUICK)


def examples(amount: int) -> list[Example]:
    return [Example([{"role": "user", "content": f"say {n}"}], f"it is {n}") for n in range(amount)]
