"""The task type of a request, from the caller or the classifier, with vectors of the real embedding model."""

from __future__ import annotations

import csv
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from kairos.llm.routing.centroids import MIN_EXAMPLES, Centroid, Classifier
from kairos.llm.routing.embedder import WEIGHTS, Embedder
from kairos.llm.routing.task_types import (
    GENERAL,
    LONG_TOKENS,
    QUEUED,
    SHORT_TOKENS,
    Length,
    TaskTypes,
    TaskTypeSource,
    length_of,
    prompt_of,
    statistics_key,
)
from kairos.tenancy import ProjectId
from tests.kit.conditions import eventually

PROMPTS = Path(__file__).parents[2] / "data" / "labelled_prompts.tsv"


def labelled(*types: str) -> list[tuple[str, str]]:
    with PROMPTS.open(encoding="utf-8") as lines:
        rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [(row["task_type"], row["prompt"]) for row in rows if not types or row["task_type"] in types]


def of_type(name: str) -> list[str]:
    return [prompt for _, prompt in labelled(name)]


@pytest.fixture(scope="module")
async def embedder() -> AsyncIterator[Embedder]:
    embedder = Embedder()
    yield embedder
    await embedder.close()


@pytest.fixture
async def types(embedder: Embedder) -> AsyncIterator[TaskTypes]:
    types = TaskTypes(embedder, None, budget_s=20, loading_budget_s=20)
    types.start()
    yield types
    await types.close()


@pytest.fixture
def project() -> ProjectId:
    return ProjectId(uuid4())


async def learn(types: TaskTypes, project: ProjectId, examples: list[tuple[str, str]]) -> None:
    for name, prompt in examples:
        await types.of(project, prompt, name, 10)
    await types.join()


# Types named by the caller


async def test_type_of_the_caller_is_used_unchanged(types: TaskTypes, project: ProjectId):
    found = await types.of(project, "Write a haiku about snow", "legal/contract review", 10)
    assert (found.name, found.source, found.confidence) == ("legal/contract review", TaskTypeSource.CALLER, None)


async def test_request_with_a_type_is_not_embedded_on_the_request_path(project: ProjectId):
    embedder = Embedder()
    types = TaskTypes(embedder, None)
    await types.of(project, "a prompt", "code", 10)
    assert not embedder.state.loaded
    assert types._prompts.qsize() == 1
    await embedder.close()


async def test_queue_of_labelled_prompts_is_limited(embedder: Embedder, project: ProjectId):
    types = TaskTypes(embedder, None)
    for number in range(QUEUED + 10):
        assert (await types.of(project, f"prompt {number}", "code", 10)).source is TaskTypeSource.CALLER
    assert types._prompts.qsize() == QUEUED


# Classification


async def test_project_without_examples_uses_the_general_type(types: TaskTypes, project: ProjectId):
    found = await types.of(project, "Write a Python function", None, 10)
    assert (found.name, found.source, found.confidence) == (GENERAL, TaskTypeSource.DEFAULT, None)
    assert found.reason == "fewer than two task types of this project have enough labelled prompts"


async def test_type_is_learned_from_prompts_and_not_from_its_name(types: TaskTypes, project: ProjectId):
    """The names of two types are exchanged: the names given by the project's callers are learned."""
    names = {"code": "blue", "translation": "code"}
    examples = [(names[name], prompt) for name, prompt in labelled("code", "translation")]
    await learn(types, project, examples)
    found = await types.of(project, "Write a Python function that parses a CSV file and returns a list", None, 10)
    assert (found.name, found.source) == ("blue", TaskTypeSource.CLASSIFIER)
    assert (await types.of(project, "Please translate this letter into French and German", None, 10)).name == "code"


async def test_prompt_unlike_all_examples_is_general(types: TaskTypes, project: ProjectId):
    await learn(types, project, labelled("code", "translation", "support"))
    found = await types.of(project, "What should I cook tonight with leeks and two eggs?", None, 10)
    assert (found.name, found.source) == (GENERAL, TaskTypeSource.DEFAULT)
    assert found.confidence is not None
    assert (found.reason or "").startswith("no type is near enough")


async def test_confident_classifications_are_mostly_correct(embedder: Embedder):
    """Leave-one-out on the labelled prompts. The thresholds were chosen on them, so this only detects regressions."""
    examples = [(name, vector) for (name, _), vector in zip(labelled(), await embed_all(embedder), strict=True)]
    totals = centroids_of([pair for pair in examples if pair[0] != "other"])
    correct = classified = others = 0
    for name, vector in examples:
        known = totals if name == "other" else {**totals, name: without(totals[name], vector)}
        guess = Classifier(known).guess(vector)
        if name == "other":
            others += guess.confident
        elif guess.confident:
            classified += 1
            correct += guess.name == name
    assert classified / 160 >= 0.70
    assert correct / classified >= 0.88
    assert others <= 2, "out of 24 prompts without a type"


async def test_projects_do_not_share_examples(types: TaskTypes, project: ProjectId):
    await learn(types, project, labelled("code", "translation"))
    found = await types.of(ProjectId(uuid4()), of_type("code")[0], None, 10)
    assert (found.name, found.source) == (GENERAL, TaskTypeSource.DEFAULT)


async def test_five_examples_of_two_types_are_needed(types: TaskTypes, project: ProjectId):
    code, translation = of_type("code"), of_type("translation")
    await learn(types, project, [("code", text) for text in code])
    await learn(types, project, [("translation", text) for text in translation[: MIN_EXAMPLES - 1]])
    assert (await types.of(project, code[0], None, 10)).source is TaskTypeSource.DEFAULT
    await learn(types, project, [("translation", translation[MIN_EXAMPLES])])
    assert (await types.of(project, code[0], None, 10)).name == "code"


async def test_prompt_without_text_is_general(types: TaskTypes, project: ProjectId):
    await learn(types, project, labelled("code", "translation"))
    found = await types.of(project, "  \n", None, 10)
    assert (found.source, found.reason) == (TaskTypeSource.DEFAULT, "the prompt has no text")


# Failures and time limits


async def test_classification_ends_with_its_time_budget(types: TaskTypes, project: ProjectId, embedder: Embedder):
    await learn(types, project, labelled("code", "translation"))
    hurried = TaskTypes(embedder, None, budget_s=0.0, loading_budget_s=0.0)
    hurried._projects = types._projects
    found = await hurried.of(project, "a text that was never embedded before", None, 10)
    assert (found.name, found.source, found.reason) == (
        GENERAL,
        TaskTypeSource.DEFAULT,
        "classifying the prompt took too long",
    )


async def test_requests_are_general_with_a_reason_without_the_model(types: TaskTypes, project: ProjectId):
    await learn(types, project, labelled("code", "translation"))
    without_model = TaskTypes(Embedder(weights=replace(WEIGHTS, package="no-such-package")), None)
    without_model._projects = types._projects
    found = await without_model.of(project, "Write a Python function", None, 10)
    assert (found.name, found.source) == (GENERAL, TaskTypeSource.DEFAULT)
    assert "no-such-package is not installed" in (found.reason or "")
    await without_model.of(project, "Write a Python function", "code", 10)
    assert without_model._prompts.empty()


async def test_failing_prompt_does_not_end_the_learning(
    types: TaskTypes, project: ProjectId, monkeypatch: pytest.MonkeyPatch
):
    embed = types._embedder.embed

    async def fails_once(*_args: object) -> None:
        monkeypatch.setattr(types._embedder, "embed", embed)
        raise OSError("disk gone")

    monkeypatch.setattr(types._embedder, "embed", fails_once)
    await learn(types, project, [("code", "first"), ("code", "second")])
    assert types._projects[project].unwritten["code"].count == 1


async def test_closing_ends_the_learning(embedder: Embedder):
    types = TaskTypes(embedder, None)
    types.start()
    task = types._learning
    await types.close()
    assert task is not None
    await eventually(task.done)


# Length and text


@pytest.mark.parametrize(
    ("tokens", "length"),
    [
        (0, Length.SHORT),
        (SHORT_TOKENS, Length.SHORT),
        (SHORT_TOKENS + 1, Length.MEDIUM),
        (LONG_TOKENS, Length.MEDIUM),
        (LONG_TOKENS + 1, Length.LONG),
    ],
)
async def test_length_is_that_of_the_whole_input(tokens: int, length: Length, types: TaskTypes, project: ProjectId):
    assert length_of(tokens) is length
    assert (await types.of(project, "short words", None, tokens)).length is length
    assert (await types.of(project, "short words", "code", tokens)).length is length


def test_only_long_inputs_have_separate_statistics():
    assert {statistics_key("code", length) for length in (Length.SHORT, Length.MEDIUM)} == {"code"}
    assert statistics_key("code", Length.LONG) == "code/long"


def test_last_message_of_the_user_is_the_prompt():
    messages = [
        {"role": "system", "content": "Answer as a pirate."},
        {"role": "user", "content": "Hello"},
        {"role": "user", "content": [{"type": "text", "text": "What is"}, {"type": "image_url"}, {"text": "this?"}]},
        {"role": "assistant", "content": "A ship."},
    ]
    assert prompt_of(messages) == "What is\nthis?"
    assert prompt_of(messages[:2]) == "Hello"
    assert prompt_of(messages[:1]) == ""
    assert prompt_of([{"role": "user", "content": None}]) == ""


async def embed_all(embedder: Embedder) -> list[tuple[float, ...]]:
    return await embedder.embed([prompt for _, prompt in labelled()], 64)


def centroids_of(examples: list[tuple[str, tuple[float, ...]]]) -> dict[str, Centroid]:
    names = {name for name, _ in examples}
    return {name: Centroid.of([vector for own, vector in examples if own == name]) for name in names}


def without(centroid: Centroid, vector: tuple[float, ...]) -> Centroid:
    return Centroid(centroid.count - 1, [total - x for total, x in zip(centroid.sum, vector, strict=True)])
