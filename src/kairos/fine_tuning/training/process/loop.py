"""The training loop: QLoRA on the answers only, with checkpoints, early stopping and progress reports."""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from torch.nn import functional
from transformers import TrainerCallback
from trl import SFTConfig, SFTTrainer

from kairos.fine_tuning.training.process import base_model
from kairos.fine_tuning.training.process.job import (
    BASE_CONFIG,
    CANDIDATES,
    CHECKPOINTS,
    TRAIN,
    VALIDATION,
    Example,
    Job,
    Progress,
    TrainingPhase,
    TrainingSettings,
    read_examples,
    write_whole,
)

IGNORED = -100
"""Label of tokens that the loss ignores."""
FIRST_CANDIDATE = 0.5
"""Share of the steps before the first candidate."""
SATURATED, SATURATED_FROM = 0.999, 0.75
"""Share of right tokens, each after the right ones before it, at which nothing is left to learn, and the share of the
steps before which a few samples do not show that: a training that ended at .55 of its steps answered 90 % of new tasks,
the complete one 96 %."""
LIKELIEST = 64
"""Tokens of the base kept per position: together they have almost all of its probability."""
SMALLEST_REST = 1e-6
"""Lower bound of the probability of all other tokens, since its logarithm is taken."""
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


class Cancelled(Exception):
    """The run was cancelled; its last checkpoint is kept."""


class NothingToTrain(ValueError):
    """No example fits into the token limit."""


def train(folder: Path, job: Job, progress: Progress, should_stop: Any) -> dict[str, Any]:
    """Train, and save PEFT's files of the candidates. Returns metrics. Raises `Cancelled`, `NothingToTrain`."""
    settings = job.settings
    if settings.threads:
        torch.set_num_threads(settings.threads)
    progress.report(TrainingPhase.LOADING)
    model, tokenizer = base_model.load(job)
    rows, left_out = _fitting(read_examples(folder / TRAIN), tokenizer, settings.max_tokens)
    held_out, _ = _fitting(read_examples(folder / VALIDATION), tokenizer, settings.max_tokens)
    if not rows:
        raise NothingToTrain(f"no example fits into {settings.max_tokens} tokens")
    steps = max(1, math.ceil(math.ceil(len(rows) / settings.batch) * settings.epochs))
    reporter = _Reporter(progress, steps, should_stop)
    trainer = ReplayTrainer(
        model=model,
        args=_arguments(folder, job, steps, evaluate=bool(held_out)),
        train_dataset=_dataset(rows),
        eval_dataset=_dataset(held_out) if held_out else None,
        processing_class=tokenizer,
        peft_config=_lora(settings),
        callbacks=[
            reporter,
            *([_EarlyStop(settings.patience)] if held_out else []),
            _Candidates(folder / CANDIDATES, candidate_steps(steps, settings.candidates)),
        ],
    )
    trainer.kept = frozenset(tuple(_tokens(row, tokenizer)) for row in rows if row.replayed)
    base_model.keep_gradients(trainer.model)
    trainer.model.create_or_update_model_card = lambda folder: None  # PEFT writes one with each checkpoint
    _cast_to_float32(trainer.model)
    checkpoint = _last_checkpoint(folder / CHECKPOINTS)
    progress.report(
        TrainingPhase.TRAINING, step=0, steps=steps, rows=len(rows), left_out=left_out, resumed=checkpoint is not None
    )
    began = time.monotonic()
    trainer.train(resume_from_checkpoint=checkpoint)
    if reporter.stopped:
        raise Cancelled
    save_candidate(trainer.model, folder / CANDIDATES / str(trainer.state.global_step))
    write_whole(folder / BASE_CONFIG, json.dumps(model.config.to_dict(), default=str))
    validated = [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry]
    return {
        "rows": len(rows),
        "left_out": left_out,
        "steps": trainer.state.global_step,
        "train_loss": reporter.last_loss,
        "validation_loss": validated[-1] if validated else None,
        "seconds": round(time.monotonic() - began, 1),
        "tokens_per_s": reporter.tokens_per_s,
        "peak_gpu_bytes": torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None,
    }


@dataclass(frozen=True, slots=True)
class LikeliestTokens:
    """The likeliest tokens at some positions, with natural log-probabilities; each of shape (positions, tokens)."""

    ids: torch.Tensor
    log_probabilities: torch.Tensor

    @classmethod
    def of(cls, logits: torch.Tensor) -> LikeliestTokens:
        """Return those of logits of shape (positions, vocabulary)."""
        found = logits.float().log_softmax(-1).topk(min(LIKELIEST, logits.shape[-1]))
        return cls(found.indices, found.values)


class ReplayTrainer(SFTTrainer):
    """Trains on the samples, and keeps the distribution at replayed tokens close to the base's by KL(base || adapted).

    See learning without forgetting (Li and Hoiem, arXiv:1606.09282). Training on replayed answers as correct ones would
    also teach the wrong ones among them, and lost more general ability than no replay. The base answers each replayed
    example once; its likeliest tokens are kept in memory. Logits are computed at the tokens of answers only.
    """

    kept: frozenset[tuple[int, ...]] = frozenset()
    """The tokens of each replayed example."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._base: dict[tuple[int, ...], LikeliestTokens] = {}

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Write none: trl would with each checkpoint, and nobody reads it."""

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        if not model.training or not self.kept:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        ids, positions, labels = (inputs[name][0] for name in ("input_ids", "position_ids", "labels"))
        examples = [(begin, end, tuple(ids[begin:end].tolist())) for begin, end in spans(positions)]
        replayed = torch.zeros_like(ids, dtype=torch.bool)
        for begin, end, tokens in examples:
            replayed[begin:end] = tokens in self.kept
        # The logits for a token are at the position before it.
        answered = (labels != IGNORED)[1:].nonzero().flatten()
        arguments = {**{name: value for name, value in inputs.items() if name != "labels"}, "use_cache": False}
        logits = model(**arguments, logits_to_keep=answered).logits[0]
        taught = ~replayed[answered + 1]
        loss = functional.cross_entropy(logits[taught].float(), labels[answered[taught] + 1], reduction="sum")
        if not taught.all():
            base = [
                self._base_of(model, ids[begin:end], labels[begin:end], tokens)
                for begin, end, tokens in examples
                if tokens in self.kept
            ]
            loss = loss + kl_divergence(logits[~taught], base)
        return loss / (num_items_in_batch if num_items_in_batch is not None else len(answered))

    def _base_of(self, model: Any, ids: torch.Tensor, labels: torch.Tensor, tokens: tuple[int, ...]) -> LikeliestTokens:
        """Return the base's likeliest tokens at the answer of a replayed example."""
        if tokens not in self._base:
            answered = (labels != IGNORED)[1:].nonzero().flatten()
            with torch.no_grad(), self.accelerator.unwrap_model(model).disable_adapter():
                logits = model(ids[None], use_cache=False, logits_to_keep=answered).logits[0]
            self._base[tokens] = LikeliestTokens.of(logits)
        return self._base[tokens]


def kl_divergence(adapted: torch.Tensor, base: Sequence[LikeliestTokens]) -> torch.Tensor:
    """Return KL(base || adapted), summed over the positions, with all but the base's likeliest tokens as one outcome.

    `adapted` are logits of shape (positions, vocabulary), `base` the likeliest tokens at the same positions.
    """
    ids = torch.cat([one.ids for one in base])
    likely = torch.cat([one.log_probabilities for one in base])
    found = adapted.float().log_softmax(-1).gather(1, ids)
    rest, found_rest = ((1 - values.exp().sum(-1)).clamp(min=SMALLEST_REST) for values in (likely, found))
    return (likely.exp() * (likely - found)).sum() + (rest * (rest.log() - found_rest.log())).sum()


def spans(positions: torch.Tensor) -> Iterator[tuple[int, int]]:
    """Yield start and end of each example of a packed row; each starts at position 0."""
    begins = (positions == 0).nonzero().flatten().tolist()
    yield from pairwise([*begins, len(positions)])


def _cast_to_float32(model: Any) -> None:
    """Cast the trainable parameters to float32.

    trl casts the adapter of a quantised base to bfloat16, which loses small optimiser steps and is many times slower on
    a CPU. On a GPU, the forward pass still uses bfloat16 (autocast).
    """
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(torch.float32)


def _lora(settings: TrainingSettings) -> LoraConfig:
    return LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=TARGETS,
        task_type="CAUSAL_LM",
    )


def _arguments(folder: Path, job: Job, steps: int, evaluate: bool) -> SFTConfig:
    settings, on_gpu = job.settings, torch.cuda.is_available()
    flash = on_gpu and base_model.attention() == "flash_attention_2"
    every = max(1, min(settings.checkpoint_steps, steps))
    return SFTConfig(
        output_dir=str(folder / CHECKPOINTS),
        max_steps=steps,
        per_device_train_batch_size=settings.batch,
        per_device_eval_batch_size=settings.batch,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=max(1, int(steps * settings.warmup_share)),
        # With flash attention, as many examples per row as fit; else one batch without padding.
        packing=flash,
        padding_free=True,
        max_length=settings.max_tokens if flash else None,  # long examples were left out before
        completion_only_loss=True,
        bf16=on_gpu,
        use_cpu=not on_gpu,
        gradient_checkpointing=on_gpu,
        optim="paged_adamw_8bit" if on_gpu else "adamw_torch",
        weight_decay=0.0,
        max_grad_norm=1.0,
        seed=settings.seed,
        data_seed=settings.seed,
        logging_steps=1,
        include_num_input_tokens_seen="all",
        save_strategy="steps",
        save_steps=every,
        save_total_limit=2,
        eval_strategy="steps" if evaluate else "no",
        eval_steps=every,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=on_gpu,
    )


def _dataset(rows: list[Example]) -> Dataset:
    return Dataset.from_list(
        [{"prompt": row.messages, "completion": [{"role": "assistant", "content": row.answer}]} for row in rows]
    )


def _fitting(rows: list[Example], tokenizer: Any, most: int) -> tuple[list[Example], int]:
    """Return the examples within the token limit and the number left out. Cut ones would teach truncated answers."""
    kept = [row for row in rows if len(_tokens(row, tokenizer)) <= most]
    return kept, len(rows) - len(kept)


def _tokens(row: Example, tokenizer: Any) -> list[int]:
    messages = [*row.messages, {"role": "assistant", "content": row.answer}]
    return tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False)


def _last_checkpoint(folder: Path) -> str | None:
    """Return the newest complete checkpoint, or None. The trainer's state is written last."""
    whole = [path for path in folder.glob("checkpoint-*") if (path / "trainer_state.json").exists()]
    newest = max(whole, key=lambda path: int(path.name.rpartition("-")[2]), default=None)
    return str(newest) if newest else None


class _Reporter(TrainerCallback):
    """Reports loss, speed and remaining time after every step, and stops the training on request."""

    def __init__(self, progress: Progress, steps: int, should_stop: Any) -> None:
        self._progress = progress
        self._steps = steps
        self._should_stop = should_stop
        self._began = (0.0, 0, 0)
        self.stopped = False
        self.last_loss: float | None = None
        self.tokens_per_s: float | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._began = (time.monotonic(), state.global_step, state.num_input_tokens_seen)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._should_stop():
            self.stopped = True
            control.should_save = control.should_training_stop = True

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        logs = logs or {}
        began, first_step, first_tokens = self._began
        seconds, done = time.monotonic() - began, state.global_step - first_step
        if "loss" in logs:
            self.last_loss = round(float(logs["loss"]), 4)
        if done and seconds > 0:
            self.tokens_per_s = round((state.num_input_tokens_seen - first_tokens) / seconds, 1)
        self._progress.report(
            TrainingPhase.TRAINING,
            step=state.global_step,
            steps=self._steps,
            loss=self.last_loss,
            validation_loss=round(float(logs["eval_loss"]), 4) if "eval_loss" in logs else None,
            tokens_per_s=self.tokens_per_s,
            left_s=round(seconds / done * (self._steps - state.global_step), 1) if done else None,
        )


def candidate_steps(steps: int, most: int) -> frozenset[int]:
    """Return the steps after which the adapter is a candidate, evenly over the second half of the training."""
    first, last = math.ceil(steps * FIRST_CANDIDATE), steps
    return frozenset(round(last - (last - first) * number / max(1, most - 1)) for number in range(most))


class _Candidates(TrainerCallback):
    """Saves the adapter after these steps."""

    def __init__(self, folder: Path, steps: frozenset[int]) -> None:
        self._folder = folder
        self._steps = steps

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        if state.global_step in self._steps:
            save_candidate(model, self._folder / str(state.global_step))


def save_candidate(model: Any, target: Path) -> None:
    """Write the adapter's folder completely or not at all."""
    if target.exists():
        return
    part = target.with_name(f"{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    model.save_pretrained(str(part))
    os.replace(part, target)


class _EarlyStop(TrainerCallback):
    """Ends a training that no longer learns: from the history, which a restarted process has too."""

    def __init__(self, patience: int) -> None:
        self._patience = patience

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        late = state.global_step >= SATURATED_FROM * state.max_steps
        if no_longer_learns([entry for entry in state.log_history if "eval_loss" in entry], self._patience, late):
            control.should_training_stop = True


def no_longer_learns(evaluations: Sequence[Mapping[str, float]], patience: int, late: bool) -> bool:
    """Whether none of the last `patience` evaluations has a better loss than those before, or, `late` in a training,
    all have every token right."""
    before, last = evaluations[:-patience], evaluations[-patience:]
    if len(last) < patience:
        return False
    if all(entry.get("eval_mean_token_accuracy", 0.0) >= SATURATED for entry in last):
        return late
    return bool(before) and min(entry["eval_loss"] for entry in last) >= min(entry["eval_loss"] for entry in before)
