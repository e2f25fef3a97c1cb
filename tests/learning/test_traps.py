"""Training avoids the faults that `shared/field-notes.md` describes."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy
import pytest

from kairos.fine_tuning.training.process.job import (
    CHECKPOINTS,
    TRAIN,
    VALIDATION,
    Example,
    Job,
    Progress,
    candidate_folders,
    write_examples,
)
from tests.kit.lora_file import write_lora
from tests.kit.training import needs_training
from tests.learning.conftest import examples

base_model: Any
gguf: Any
gguf_file: Any
gguf_lora: Any
loop: Any

pytestmark = [needs_training, pytest.mark.filterwarnings("ignore")]  # the libraries warn of each other


@pytest.fixture(scope="module", autouse=True)
def libraries() -> None:
    """Import the training libraries. It takes seconds, which every process would spend on collecting the tests."""
    global base_model, gguf, gguf_file, gguf_lora, loop
    process = "kairos.fine_tuning.training.process"
    gguf = import_module("gguf")
    names = ("base_model", "gguf_file", "gguf_lora", "loop")
    base_model, gguf_file, gguf_lora, loop = (import_module(f"{process}.{name}") for name in names)


@pytest.fixture
def model_and_tokenizer(job: Job) -> tuple[Any, Any]:
    """The base model and its tokenizer."""
    return base_model.load(job)


def test_loss_covers_the_answer_and_its_end_token_but_not_the_prompt(
    job: Job, tmp_path: Path, model_and_tokenizer: tuple[Any, Any]
):
    """If the end token were the padding token, it would be masked and the model would not learn to stop."""
    model, tokenizer = model_and_tokenizer
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    from trl import SFTTrainer

    trainer = SFTTrainer(
        model=model,
        args=loop._arguments(tmp_path, job, steps=4, evaluate=False),
        train_dataset=loop._dataset(examples(3)),
        processing_class=tokenizer,
        peft_config=loop._lora(job.settings),
    )
    batch = next(iter(trainer.get_train_dataloader()))
    for tokens, labels in zip(batch["input_ids"].tolist(), batch["labels"].tolist(), strict=True):
        learned = [label for label in labels if label != -100]
        answer = tokenizer.decode(learned)
        assert tokenizer.eos_token_id in learned
        assert answer.startswith("it is")
        assert "say" not in answer, "the loss covers the prompt"
        assert all(label in (-100, token) for token, label in zip(tokens, labels, strict=True))


def test_four_bit_weights_keep_their_gradient(model_and_tokenizer: tuple[Any, Any]):
    """On CPUs with AVX512-BF16, bitsandbytes repacks the weights at the first forward pass in eval mode, which would
    drop the gradient."""
    import bitsandbytes
    import torch

    model, _ = model_and_tokenizer
    layers = [module for module in model.modules() if isinstance(module, bitsandbytes.nn.Linear4bit)]
    assert layers
    assert not any(layer.support_avx512bf16_for_cpu for layer in layers)
    assert layers[0].weight.quant_type == "nf4"
    assert layers[0].weight.quant_state.nested, "no double quantisation"
    model.eval()
    with torch.no_grad():
        model(torch.tensor([[1, 2, 3]]))
    model.train()
    inputs = torch.randn(1, 3, layers[0].in_features, requires_grad=True)
    layers[0](inputs).sum().backward()
    assert inputs.grad is not None
    assert inputs.grad.abs().sum() > 0


def test_warm_up_is_shorter_than_the_run_and_bf16_is_off_on_a_cpu(job: Job, tmp_path: Path):
    for steps in (1, 4, 90):
        arguments = loop._arguments(tmp_path, job, steps=steps, evaluate=True)
        assert arguments.warmup_steps <= max(1, steps // 2)
        assert arguments.completion_only_loss is True
        assert arguments.bf16 is not arguments.use_cpu


def test_examples_longer_than_the_context_are_dropped_and_not_truncated(model_and_tokenizer: tuple[Any, Any]):
    _, tokenizer = model_and_tokenizer
    long = Example([{"role": "user", "content": "word " * 500}], "end")
    kept, dropped = loop._fitting([*examples(2), long], tokenizer, 200)
    assert (len(kept), dropped) == (2, 1)


def test_rows_of_q_and_k_are_reordered_for_llama_cpp():
    """llama.cpp interleaves the two halves of each rotary head."""
    rows = numpy.arange(8, dtype=numpy.float32).reshape(8, 1)
    assert gguf_lora.permute(rows, 2).ravel().tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"use_dora": True}, "DoRA"),
        ({"use_rslora": True}, "rsLoRA"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"bias": "all"}, "bias"),
    ],
)
def test_setting_that_gguf_adapters_do_not_support_is_named_in_the_error(
    tmp_path: Path, settings: dict[str, Any], message: str
):
    (tmp_path / "adapter_config.json").write_text(json.dumps({"lora_alpha": 8, **settings}))
    with pytest.raises(gguf_lora.CannotConvert, match=message):
        gguf_lora.convert(tmp_path, {"model_type": "llama"}, tmp_path / "a.gguf")


def dtypes(checkpoints: Path) -> set[str]:
    """Return the data types of the tensors of all checkpoints."""
    from safetensors import safe_open

    found = set()
    for file in checkpoints.glob("*/adapter_model.safetensors"):
        with safe_open(file, "pt") as tensors:
            found |= {tensors.get_slice(name).get_dtype() for name in tensors.keys()}  # noqa: SIM118 - not a mapping
    return found


def test_replayed_answers_do_not_change_the_model(job: Job, tmp_path: Path):
    """As ordinary examples, the wrong answers become more probable. As replayed ones, they keep their probability."""
    losses = {}
    for name, replayed in (("kept", True), ("taught", False)):
        folder = tmp_path / name
        folder.mkdir()
        write_examples(folder / TRAIN, [replace(example, replayed=replayed) for example in examples(4)])
        write_examples(folder / VALIDATION, examples(4))
        loop.train(folder, job, Progress(folder), lambda: False)
        reports = [json.loads(line) for line in (folder / "progress.jsonl").read_text().splitlines()]
        losses[name] = [loss for report in reports if (loss := report.get("validation_loss")) is not None]
    assert max(losses["kept"]) - min(losses["kept"]) < 0.05
    assert losses["taught"][0] - losses["taught"][-1] > 0.1


def test_gguf_file_is_parsed_once_within_the_context_with_the_same_result(tmp_path: Path):
    write_lora(file := tmp_path / "a.gguf", 1)
    plain, reference = gguf_file.PlainReader(file), gguf.GGUFReader(file)
    assert [field.contents() for field in plain.fields.values()] == [f.contents() for f in reference.fields.values()]
    assert [tensor.name for tensor in plain.tensors] == [tensor.name for tensor in reference.tensors]
    for actual, expected in zip(plain.tensors, reference.tensors, strict=True):
        numpy.testing.assert_array_equal(actual.data, expected.data)
    original = gguf.GGUFReader
    with gguf_file.parsed_once():
        assert gguf.GGUFReader(file) is gguf.GGUFReader(file)
    assert gguf.GGUFReader is original


def test_spans_returns_the_range_of_each_example_in_a_packed_row():
    import torch

    assert list(loop.spans(torch.tensor([0, 1, 2, 0, 1]))) == [(0, 3), (3, 5)]


def test_examples_of_one_packed_row_do_not_attend_to_each_other(model_and_tokenizer: tuple[Any, Any]):
    import torch

    model, _ = model_and_tokenizer
    first, second = torch.tensor([[5, 6, 7, 8]]), torch.tensor([[9, 10, 11]])
    positions = torch.tensor([[0, 1, 2, 3, 0, 1, 2]])
    with torch.no_grad():
        packed = model(torch.cat([first, second], dim=1), position_ids=positions, use_cache=False).logits
        separate = torch.cat([model(ids).logits for ids in (first, second)], dim=1)
    assert torch.allclose(packed, separate, atol=1e-4)


def test_bfloat16_adapter_is_converted(job: Job, tmp_path: Path):
    """Plain trl, or training on a GPU, saves adapters in bfloat16."""
    import torch
    from safetensors.torch import save_file

    name = "base_model.model.model.layers.0.mlp.up_proj.lora_A.weight"
    save_file({name: torch.full((2, 4), 1.5, dtype=torch.bfloat16)}, tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text(json.dumps({"lora_alpha": 8}))
    config = {"model_type": "llama", "num_attention_heads": 4}
    assert gguf_lora.convert(tmp_path, config, tmp_path / "a.gguf") == 1
    [tensor] = gguf.GGUFReader(tmp_path / "a.gguf").tensors
    assert tensor.data.flatten().tolist() == [1.5] * 8


def test_training_reduces_the_loss_and_stores_an_adapter_with_every_tensor(job: Job, tmp_path: Path):
    write_examples(tmp_path / TRAIN, examples(6))
    write_examples(tmp_path / VALIDATION, examples(2))
    metrics = loop.train(tmp_path, job, Progress(tmp_path), lambda: False)
    candidate = candidate_folders(tmp_path)[-1]
    assert dtypes(tmp_path / CHECKPOINTS) == {"F32"}, "bfloat16 would lose small updates"
    config = json.loads((tmp_path / "base_config.json").read_text())
    assert gguf_lora.convert(candidate, config, tmp_path / "a.gguf") == 2 * 7 * 2, (
        "expected two layers, seven modules, A and B"
    )
    losses = [json.loads(line).get("loss") for line in (tmp_path / "progress.jsonl").read_text().splitlines()]
    reported = [loss for loss in losses if loss is not None]
    assert reported[-1] < reported[0]
    assert not list(tmp_path.rglob("README.md")), "model cards were written"
    assert metrics["rows"] == 6
    assert metrics["validation_loss"] is not None


def test_candidates_are_spread_over_the_second_half_of_the_training():
    assert sorted(loop.candidate_steps(76, 5)) == [38, 48, 57, 66, 76]
    assert sorted(loop.candidate_steps(3, 5)) == [2, 3]
    assert loop.candidate_steps(76, 1) == {76}


@pytest.mark.parametrize(
    ("losses", "accuracies", "ended"),
    [
        ([3, 2, 1, 0.9], [0.2, 0.4, 0.6, 0.8], False),
        ([3, 1, 1.1, 1.2, 1], [0.2, 0.6, 0.6, 0.6, 0.6], True),
        ([3, 0.02, 0.01, 0.009], [0.2, 1, 1, 1], True),
        ([0.02, 0.01], [1, 1], False),
        ([3, 0.02, 0.01, 0.009], [0.2, 1, 0.98, 1], False),
        ([], [], False),
    ],
    ids=[
        "learning",
        "worse than before",
        "every token right",
        "right for a short time",
        "not every token",
        "unmeasured",
    ],
)
def test_training_ends_when_it_no_longer_learns(losses: list[float], accuracies: list[float], ended: bool):
    evaluations = [
        {"eval_loss": loss, "eval_mean_token_accuracy": accuracy}
        for loss, accuracy in zip(losses, accuracies, strict=True)
    ]
    assert loop.no_longer_learns(evaluations, 3, late=True) is ended


def test_a_few_right_samples_do_not_end_a_training_early():
    evaluations = [{"eval_loss": loss, "eval_mean_token_accuracy": 1.0} for loss in (0.02, 0.03, 0.03, 0.03)]
    assert not loop.no_longer_learns(evaluations, 3, late=False)
    assert loop.no_longer_learns(evaluations, 3, late=True)


def test_divergence_of_likeliest_tokens_is_close_to_that_of_all():
    import torch

    torch.manual_seed(0)
    base, adapted = torch.randn(5, 1000) * 4, torch.randn(5, 1000) * 4
    exact = torch.nn.functional.kl_div(adapted.log_softmax(-1), base.log_softmax(-1), reduction="sum", log_target=True)
    first, second = (loop.LikeliestTokens.of(part) for part in (base[:2], base[2:]))
    found = loop.kl_divergence(adapted, [first, second])
    assert float(found) == pytest.approx(float(exact), rel=0.05)
    assert float(loop.kl_divergence(base, [first, second])) == pytest.approx(0, abs=1e-4)


def test_base_is_asked_once_for_each_replayed_example(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked = []
    plain = loop.LikeliestTokens.of
    monkeypatch.setattr(loop.LikeliestTokens, "of", lambda logits: asked.append(len(logits)) or plain(logits))
    write_examples(
        tmp_path / TRAIN, [replace(example, replayed=number < 3) for number, example in enumerate(examples(6))]
    )
    write_examples(tmp_path / VALIDATION, [])
    loop.train(tmp_path, job, Progress(tmp_path), lambda: False)
    assert len(asked) == 3
    assert min(asked) > 1
