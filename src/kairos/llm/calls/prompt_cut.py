"""Detects prompts that the server truncated silently, from the prompt tokens that it reports."""

from __future__ import annotations

from kairos.llm.calls.call_errors import ModelCallError
from kairos.llm.calls.prompt_size import SMALL, prompt_lower_bound, prompt_upper_bound
from kairos.llm.calls.providers import ChatRequest, Completion
from kairos.llm.calls.served_context import self_hosted
from kairos.llm.catalog.catalog import Model

MIN_CHECKED = 400
"""Minimum estimated prompt tokens for the check. For shorter prompts, differences between tokenizers exceed a cut."""
MIN_SHARE = 0.6
"""A count below this share of the lower bound cannot be explained by another tokenizer."""
BLOCK = 256
"""Contexts are multiples of this."""
CONTEXTS = frozenset(2**power for power in range(11, 18))
"""Common default context sizes."""


class ModelPromptCut(ModelCallError):
    """The server of the model {model} truncated the prompt: it read {read} of about {sent} tokens, so its answer was
    discarded. It has a context of {context} tokens. Raise it there (Ollama: OLLAMA_CONTEXT_LENGTH, or `PARAMETER
    num_ctx` in the Modelfile), set a smaller `context` for {model} in kairos.toml, or shorten the prompt."""

    status, code = 502, "model_prompt_cut"
    retryable = False

    def __init__(
        self, model: Model, request: ChatRequest, completion: Completion, read: int, context: int | None
    ) -> None:
        self.context = context
        """The server's actual context, if the count reveals it."""
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
    """Raise `ModelPromptCut` if the reported prompt tokens show that the model did not read the whole prompt.

    `context` is the size that Kairos assumes, `served` the one that the server reports, if any.
    """
    read = completion.usage.input_tokens if completion.usage else 0
    if read <= 0:
        return  # not counted
    least = prompt_lower_bound(request.messages)
    if least >= MIN_CHECKED and read < MIN_SHARE * least:
        raise ModelPromptCut(model, request, completion, read, read if read % BLOCK == 0 else served)
    if prompt_upper_bound(request.messages, request.tools, SMALL) <= read:
        return  # no tokenizer produces more, so the whole prompt was read
    if read >= (served or context) or (self_hosted(model) and served is None and read in CONTEXTS):
        raise ModelPromptCut(model, request, completion, read, read)
