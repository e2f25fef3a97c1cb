"""Finds answers to prompts that their server cut without saying so, by the prompt tokens that it reports."""

from __future__ import annotations

from kairos.llm.calls.call_errors import ModelCallError
from kairos.llm.calls.prompt_size import SMALL, prompt_lower_bound, prompt_upper_bound
from kairos.llm.calls.providers import ChatRequest, Completion
from kairos.llm.calls.served_context import self_hosted
from kairos.llm.catalog.catalog import Model

MIN_CHECKED = 400
"""Tokens, estimated from below: of shorter prompts, servers' ways of counting differ by more than a cut would."""
FAR_BELOW = 0.6
"""A count below this share of the estimate from below is no other way of counting."""
BLOCK = 256
"""Contexts are multiples of it."""
CONTEXTS = frozenset(2**power for power in range(11, 18))
"""Sizes that servers serve by default."""


class ModelPromptCut(ModelCallError):
    """The server of the model {model} cut the prompt: it read {read} tokens of about {sent}, so its answer is not used.
    It serves a context of {context} tokens: raise that there (Ollama: OLLAMA_CONTEXT_LENGTH, or `PARAMETER num_ctx` in
    the Modelfile), or give a smaller `context` for {model} in kairos.toml, or shorten the prompt.
    """

    status, code = 502, "model_prompt_cut"
    retryable = False

    def __init__(
        self, model: Model, request: ChatRequest, completion: Completion, read: int, context: int | None
    ) -> None:
        self.context = context
        """The context that it really has, where the count tells it."""
        super().__init__(
            model=model.name,
            reason="",
            partial=completion.text,
            usage=completion.usage,
            duration_s=completion.duration_s,
            read=read,
            sent=prompt_upper_bound(request.messages, request.tools, SMALL),
            context=context or f"about {read}",
        )


def check_prompt(model: Model, request: ChatRequest, completion: Completion, context: int, served: int | None) -> None:
    """Raise `ModelPromptCut` where the reported prompt tokens show that the model did not see all of the prompt.

    `context` is what Kairos goes by, `served` what the server itself says, where it says anything.
    """
    read = completion.usage.input_tokens if completion.usage else 0
    if read <= 0:
        return  # not counted
    least = prompt_lower_bound(request.messages)
    if least >= MIN_CHECKED and read < FAR_BELOW * least:
        raise ModelPromptCut(model, request, completion, read, read if read % BLOCK == 0 else served)
    if prompt_upper_bound(request.messages, request.tools, SMALL) <= read:
        return  # no tokenizer makes more of it, so all of it was read
    if read >= (served or context) or (self_hosted(model) and served is None and read in CONTEXTS):
        raise ModelPromptCut(model, request, completion, read, read)
