"""Which adapters the evaluation gate promotes: seeded adapters, half of them damaged, and their quality on fresh
prompts.

Run: python -m benchmarks.gate_rulings --pairs 20 --at-once 2 (needs `make train`; minutes per adapter)

Each pair is the embedded model and an adapter trained on a made-up API with another seed. Odd seeds are damaged: by
answers of other prompts, or by many epochs at a high learning rate without replay. The gate decides by its own
questions, as in a real run. Then base and adapter answer fresh prompts that neither training nor gate has seen. No
promoted adapter may be worse there: at its training task, or by more than the gate's margin at ordinary prompts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import tempfile
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any
from uuid import UUID

from benchmarks.learning_bench import fresh_prompts, ignore_progress, ignore_reports, messages
from kairos.agents.execution import SYSTEM
from kairos.config import FineTuningSettings
from kairos.embedded import DataFolder
from kairos.embedded.model import check_weights
from kairos.fine_tuning.adapters.llama_cpp import LoadedModels, OneOffModels
from kairos.fine_tuning.adapters.model_copies import ModelCopies
from kairos.fine_tuning.dataset.split import ApprovedSample
from kairos.fine_tuning.gate.asking import ModelCalls, greedy
from kairos.fine_tuning.gate.evaluation import GateOutcome, GatePrompt, GateReport
from kairos.fine_tuning.gate.gate import Gate
from kairos.fine_tuning.training.process.job import GGUF, TrainingSettings
from kairos.fine_tuning.training.trainer import Trainer, replays
from kairos.http import HttpClient
from kairos.llm.calls.providers import ChatRequest, Completion, Providers
from kairos.llm.catalog.catalog import Model
from kairos.tenancy import ProjectId
from scripts.demo_learning import KNOWN, NEW, VERBS, DemoTask

SETTINGS = FineTuningSettings(threads=1)
PROJECT = ProjectId(UUID(int=0))
TRAINED, HELD_OUT, FRESH = 24, 10, 16


@dataclass(frozen=True, slots=True)
class FreshQuality:
    """Shares of correct answers of base and adapter on fresh prompts."""

    similar: tuple[float, float]
    ordinary: tuple[float, float]

    @property
    def worse(self) -> bool:
        """Whether it is worse at its training task, or by more than the margin elsewhere."""
        return self.similar[1] < self.similar[0] or self.ordinary[1] < self.ordinary[0] - SETTINGS.margin


class CachingProviders(Providers):
    """Caches the base's answers, which are the same for all pairs at temperature 0."""

    def __init__(self, http: HttpClient) -> None:
        super().__init__(http)
        self._known: dict[tuple[object, ...], Completion] = {}

    async def chat(self, model: Model, request: ChatRequest, **options: Any) -> Completion:
        if "adapter" in model.name:
            return await super().chat(model, request, **options)
        asked = json.dumps(request.messages), request.max_tokens, request.temperature, request.seed
        if asked not in self._known:
            self._known[asked] = await super().chat(model, request, **options)
        return self._known[asked]


class Bench:
    """Trains and evaluates pairs in one folder; each pair has its own llama.cpp processes."""

    def __init__(self, folder: Path, providers: Providers) -> None:
        self._folder = folder
        self._providers = providers
        self._gate = Gate(providers, SETTINGS, folder)
        self._trainer = Trainer(SETTINGS, folder / "models")
        self._weights = check_weights()

    async def pair(self, seed: int) -> tuple[GateReport, FreshQuality]:
        rng = random.Random(seed)
        wishes = [DemoTask(verb, thing) for verb in VERBS for thing in KNOWN]
        rng.shuffle(wishes)
        training, held_out = wishes[:TRAINED], wishes[TRAINED : TRAINED + HELD_OUT]
        fresh = [DemoTask(rng.choice(VERBS), thing) for thing in (NEW * 2)[:FRESH]]
        adapter = await self._trained(seed, training)
        async with self._models(seed, [adapter]) as loaded:
            base, candidate = loaded.plain, loaded.adapted(0)
            questions = [GatePrompt(wish.prompt, messages(wish.prompt), wish.right) for wish in held_out]
            report = await self._gate.measure(base, candidate, questions, grade, SYSTEM, ignore_progress)
            return report, await self._fresh_quality(base, candidate, fresh)

    def _models(self, seed: int, adapters: Sequence[Path]) -> AbstractAsyncContextManager[LoadedModels]:
        return OneOffModels(self._folder / f"pair-{seed}")(self._weights, adapters)

    async def _trained(self, seed: int, wishes: Sequence[DemoTask]) -> Path:
        folder = self._trainer.folder(PROJECT, seed)
        model = Model("smollm2-135m", "smollm2-135m", "", weights=str(self._weights))
        rights = [wish.right for wish in wishes]
        settings, amount = (
            TrainingSettings(seed=seed, threads=SETTINGS.threads),
            replays(TRAINED, SETTINGS.replay_share),
        )
        match harm_of(seed):
            case "answers of other prompts":
                rights = rights[1:] + rights[:1]
            case "many passes, no replay":
                settings, amount = replace(settings, epochs=settings.epochs * 4, learning_rate=2e-3), 0
        rows = [
            ApprovedSample(UUID(int=number), 1, None, None, messages(wish.prompt), right)
            for number, (wish, right) in enumerate(zip(wishes, rights, strict=True))
        ]
        async with self._models(seed, []) as loaded:
            replayed = await self._gate.replayed(loaded.plain, amount, SYSTEM, ignore_progress)
        await self._trainer.prepare(folder, model, rows, [], replayed, settings)
        trained = await self._trainer.train(folder, ignore_reports)
        return trained.candidates[-1] / GGUF

    async def _fresh_quality(
        self, base: ModelCopies, candidate: ModelCopies, fresh: Sequence[DemoTask]
    ) -> FreshQuality:
        similar, elsewhere = [], []
        for model in (ModelCalls(self._providers, base), ModelCalls(self._providers, candidate)):
            texts = await asyncio.gather(*(answer(model, wish.prompt) for wish in fresh))
            similar.append(fmean(wish.right in text for wish, text in zip(fresh, texts, strict=True)))
            texts = await asyncio.gather(*(answer(model, one.prompt) for one in fresh_prompts()))
            elsewhere.append(fmean(one.quality(text) for one, text in zip(fresh_prompts(), texts, strict=True)))
        return FreshQuality((similar[0], similar[1]), (elsewhere[0], elsewhere[1]))


async def answer(model: ModelCalls, prompt: str) -> str:
    return (await model.ask(greedy(messages(prompt)))).text


def harm_of(seed: int) -> str:
    """Return the kind of damage: none for even seeds, the two kinds alternately for odd ones."""
    return "" if seed % 2 == 0 else ("answers of other prompts", "many passes, no replay")[seed // 2 % 2]


async def grade(question: GatePrompt, answer: str) -> float:
    return float(question.wanted in answer)


async def main(pairs: int, at_once: int) -> int:
    print(
        f"{'seed':>4}  {'harm':<24} {'ruling':<15} {'held out':>12} {'ordinary':>12} {'fresh':>12} {'fresh ord.':>12}"
    )
    slots = asyncio.Semaphore(at_once)
    with tempfile.TemporaryDirectory() as name:
        async with HttpClient() as http:
            with DataFolder(Path(name)):
                bench = Bench(Path(name), CachingProviders(http))

                async def one(seed: int) -> tuple[GateReport, FreshQuality]:
                    async with slots:
                        report, fresh_quality = await bench.pair(seed)
                    print(row(seed, report, fresh_quality), flush=True)
                    return report, fresh_quality

                found = await asyncio.gather(*(one(seed) for seed in range(pairs)))
    promoted = [fresh_quality for report, fresh_quality in found if report.ruling is GateOutcome.PROMOTE]
    wrong = sum(fresh_quality.worse for fresh_quality in promoted)
    print(f"{len(promoted)} of {pairs} promoted, {wrong} of them worse on fresh prompts")
    return 1 if wrong else 0


def row(seed: int, report: GateReport, fresh_quality: FreshQuality) -> str:
    pairs = (
        (report.held_out.base or 0, report.held_out.candidate or 0),
        (report.control.base or 0, report.control.candidate or 0),
        fresh_quality.similar,
        fresh_quality.ordinary,
    )
    shown = " ".join(f"{before:>5.0%} →{after:>4.0%}" for before, after in pairs)
    return (
        f"{seed:>4}  {harm_of(seed) or '–':<24} {report.ruling:<15} {shown}{'  worse' if fresh_quality.worse else ''}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=2)
    parser.add_argument("--at-once", type=int, default=1)
    arguments = parser.parse_args()
    raise SystemExit(asyncio.run(main(arguments.pairs, arguments.at_once)))
