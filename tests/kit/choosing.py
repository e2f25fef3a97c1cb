"""The scenario of R1.1.9: two task types, a local and a strong model, a judge, and one or more replicas of Kairos."""

from __future__ import annotations

import random
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from kairos.assembly import Components, assemble
from kairos.config import JudgeSettings, ModelSettings, PriceSettings, RouterSettings, Settings
from kairos.embedded import Addresses
from tests.kit.kairos_app import QUICK, KairosApp, new_project
from tests.kit.model_script import Quality
from tests.kit.model_server import ModelServer, Prompt, ScriptedModel

CODE, ANALYSIS = "write simple code", "do a complex analysis"
TESTS = "assert add(2, 3) == 5\nassert add(-1, 1) == 0"
GOOD_CODE, BAD_CODE = "```python\ndef add(a, b):\n    return a + b\n```", "```python\ndef add(a, b):\n    return a\n```"
GOOD_ANALYSIS, BAD_ANALYSIS = "A thorough analysis with causes, evidence and limits.", "It depends."
RUNS = 10
LAST = 5
ENOUGH = 4
LOCAL, STRONG, JUDGE = "local", "strong", "judge"


@dataclass(slots=True)
class Choices:
    """The model chosen in each run, and the scores of both models at each decision."""

    seed: int
    by_kind: dict[str, list[str]] = field(default_factory=lambda: {CODE: [], ANALYSIS: []})
    scores: dict[str, list[dict[str, float]]] = field(default_factory=lambda: {CODE: [], ANALYSIS: []})

    @property
    def learned(self) -> bool:
        """Whether at least four of the last five runs of each task type went to the model that suits it."""
        code, analysis = self.by_kind[CODE][-LAST:], self.by_kind[ANALYSIS][-LAST:]
        return code.count(LOCAL) >= ENOUGH and analysis.count(STRONG) >= ENOUGH

    def scores_changed(self) -> bool:
        return all(scores[0] != scores[-1] for scores in self.scores.values())

    def table(self) -> str:
        lines = []
        for kind, answered in self.by_kind.items():
            lines.append(f"seed {self.seed}, {kind}: {' '.join(answered)}")
            for model in (LOCAL, STRONG):
                lines.append(f"  mu of {model:6} " + " ".join(f"{score[model]:.2f}" for score in self.scores[kind]))
        return "\n".join(lines)


async def run_scenario(addresses: Addresses, seed: int, replicas: int) -> Choices:
    """Run ten tasks of each type in an order given by the seed, on the replicas in turn."""
    order = [CODE, ANALYSIS] * RUNS
    random.Random(seed).shuffle(order)
    choices = Choices(seed)
    async with AsyncExitStack() as stack:
        local = await stack.enter_async_context(_local(seed))
        strong = await stack.enter_async_context(_strong(seed))
        judge = await stack.enter_async_context(_judge())
        settings = _settings(local, strong, judge)
        apps = [await stack.enter_async_context(_replica(addresses, settings, local)) for _ in range(replicas)]
        first = apps[0]
        for app in apps[1:]:
            app.project_id, app.user_id = first.project_id, first.user_id
        for number, kind in enumerate(order):
            await _one(apps[number % replicas], kind, choices)
    return choices


class _replica:
    """One of several replicas: its worker and background tasks run inside the block."""

    def __init__(self, addresses: Addresses, settings: Settings, models: ModelServer) -> None:
        self._addresses, self._settings, self._models = addresses, settings, models
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> KairosApp:
        parts: Components = await self._stack.enter_async_context(assemble(self._settings, self._addresses))
        app = KairosApp(parts, self._models, *await new_project(parts))
        await self._stack.enter_async_context(app.working())
        return app

    async def __aexit__(self, *exception: object) -> None:
        await self._stack.aclose()


async def _one(app: KairosApp, kind: str, choices: Choices) -> None:
    checks = {"tests": TESTS} if kind == CODE else {}
    task_id = await app.submit(kind, task_type=kind, **checks)
    await app.finished(task_id)
    await app.parts.agents.judge.drain()
    first, *_ = await app.decisions(task_id)
    choices.by_kind[kind].append(first.chosen or "none")
    choices.scores[kind].append({score["model"]: score["mu"] for score in first.candidates})


def _settings(local: ModelServer, strong: ModelServer, judge: ModelServer) -> Settings:
    return Settings(
        queue=QUICK.model_copy(update={"sweep_s": 5}),
        judge=JudgeSettings(model=JUDGE, share=1.0),
        # The scripted servers are about thirty times as fast as real ones, so the target is scaled too.
        router=RouterSettings(latency_target_s=0.25),
        models=[
            ModelSettings(name=LOCAL, base_url=local.base_url, local=True),
            ModelSettings(name=STRONG, base_url=strong.base_url, price=PriceSettings(input=5, output=20)),
            ModelSettings(name=JUDGE, base_url=judge.base_url, price=PriceSettings(input=5, output=20), tier=0.02),
        ],
    )


def _local(seed: int) -> ModelServer:
    def answer(prompt: Prompt):
        good = (
            Quality(0.95, GOOD_CODE, BAD_CODE, seed)
            if _is_code(prompt)
            else Quality(0.05, GOOD_ANALYSIS, BAD_ANALYSIS, seed)
        )
        return good.draw(prompt)

    return ModelServer(ScriptedModel(LOCAL, answer=answer, first_token_s=0.005))


def _strong(seed: int) -> ModelServer:
    def answer(prompt: Prompt):
        good = (
            Quality(0.95, GOOD_CODE, BAD_CODE, seed)
            if _is_code(prompt)
            else Quality(0.95, GOOD_ANALYSIS, BAD_ANALYSIS, seed)
        )
        return good.draw(prompt)

    return ModelServer(ScriptedModel(STRONG, answer=answer, first_token_s=0.15))


def _judge() -> ModelServer:
    def answer(prompt: Prompt) -> str:
        score = 9 if GOOD_ANALYSIS in str(prompt.messages) else 1
        return f'{{"reason": "by the rule of the script", "score": {score}}}'

    return ModelServer(ScriptedModel(JUDGE, answer=answer))


def _is_code(prompt: Prompt) -> bool:
    return CODE in str(prompt.messages)
