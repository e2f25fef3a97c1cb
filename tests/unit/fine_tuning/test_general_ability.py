"""Control prompts are asked in both contexts, in as many rounds as the result needs."""

from __future__ import annotations

from collections.abc import Callable

from kairos.fine_tuning.gate import general_ability, loss_test
from kairos.fine_tuning.gate.control_prompts import ControlPrompt
from kairos.fine_tuning.gate.general_ability import LOOK, ROUNDS, PromptContext, Question
from kairos.fine_tuning.gate.loss_test import Loss

MARGIN = 0.05
PROMPTS = [ControlPrompt(f"Say yes, {number}.", ("yes",)) for number in range(200)]


class Models:
    """A base that is always right, and a candidate that is right for some questions."""

    def __init__(self, right: Callable[[Question], bool]) -> None:
        self._right = right
        self.asked: dict[str, list[Question]] = {"base": [], "candidate": []}

    async def base(self, question: Question) -> str:
        self.asked["base"].append(question)
        return "Yes."

    async def candidate(self, question: Question) -> str:
        self.asked["candidate"].append(question)
        return "Yes." if self._right(question) else "No."


async def compare(models: Models, prompts: list[ControlPrompt] = PROMPTS):
    async def ignore_progress(done: int) -> None: ...

    return await general_ability.compare(prompts, models.base, models.candidate, MARGIN, 2, ignore_progress)


async def test_both_models_answer_the_same_questions_in_both_contexts():
    models = Models(lambda question: True)
    await compare(models)
    assert set(models.asked["base"]) == set(models.asked["candidate"])
    first = [question for question in models.asked["base"] if question.number == 0]
    assert {question.context for question in first} == set(PromptContext)
    roles = {question.context: [message["role"] for message in question.messages("s")] for question in first}
    assert roles == {PromptContext.SYSTEM_PROMPT: ["system", "user"], PromptContext.ALONE: ["user"]}


async def test_clear_result_ends_the_questions_early():
    for right, loss in ((True, Loss.NONE), (False, Loss.CERTAIN)):
        models = Models(lambda question, right=right: right)
        found = await compare(models)
        assert found.loss is loss
        assert len(models.asked["candidate"]) == 2 * loss_test.FEWEST_PROMPTS < 2 * len(PROMPTS)


async def test_close_result_is_sampled_in_a_second_round():
    """Two answers in five changed: one lost, one gained, with a mean of zero."""
    models = Models(lambda question: question.number % 40 != 0 or question.sampling is not ROUNDS[0])
    found = await compare(models, PROMPTS[:LOOK])
    assert {question.sampling for question in models.asked["candidate"]} == set(ROUNDS)
    assert [(one.temperature, one.seed) for one in ROUNDS] == [(0.0, None), (0.7, 1)]
    assert len(found.answers) == 2 * 2 * LOOK


async def test_loss_in_one_context_counts_even_if_the_mean_passes():
    """Without the system prompt, the adapter lost 30 % of the answers, and gained as many with it."""

    class Gaining(Models):
        async def base(self, question: Question) -> str:
            answer = await super().base(question)
            gained = question.context is PromptContext.SYSTEM_PROMPT and question.number % 3 == 0
            return "No." if gained else answer

    models = Gaining(lambda question: question.context is PromptContext.SYSTEM_PROMPT or question.number % 3 != 0)
    found = await compare(models)
    assert (found.loss, found.lost_in) == (Loss.CERTAIN, PromptContext.ALONE)


async def test_each_prompt_counts_once():
    models = Models(lambda question: question.number % 2 == 0)
    found = await compare(models, PROMPTS[:4])
    assert general_ability.differences(found.answers) == [0.0, -1.0, 0.0, -1.0]


async def test_no_prompts_are_uncertain():
    found = await compare(Models(lambda question: True), [])
    assert (found.answers, found.loss) == ((), Loss.UNCERTAIN)
