"""Separates a model's reasoning from its answer.

Servers with a parser for a model send reasoning in a separate field. Otherwise it arrives in the text: between tags,
before a closing tag whose opening tag was part of the prompt template (DeepSeek, Qwen), or in a channel (gpt-oss). Only
reasoning in front of the answer is separated, because an answer may mention these tags.
"""

from __future__ import annotations

import re
from enum import StrEnum

_XML = ("think", "thinking", "thought", "thoughts", "reasoning", "reason", "seed:think", "antthinking", "scratchpad")
_CHANNEL_END = re.compile(r"<\|end\|>|(?=<\|start\|>)|(?=<\|channel\|>)|<\|return\|>")
_CLOSINGS: dict[str, re.Pattern[str]] = {
    **{f"<{tag}>": re.compile(rf"</{tag}\s*>", re.IGNORECASE) for tag in _XML if not tag.startswith("think")},
    **{f"<{tag}>": re.compile(r"</think(?:ing)?\s*>", re.IGNORECASE) for tag in ("think", "thinking")},
    "[think]": re.compile(r"\[/think\]", re.IGNORECASE),
    "◁think▷": re.compile("◁/think▷"),
    "<|begin_of_thought|>": re.compile(r"<\|end_of_thought\|>"),
    "<|start_thinking|>": re.compile(r"<\|end_thinking\|>", re.IGNORECASE),
    "<|channel|>analysis<|message|>": _CHANNEL_END,
    "<|channel|>commentary<|message|>": _CHANNEL_END,
    "<|channel>thought": re.compile(r"<channel\|>"),
    "<unused94>thought": re.compile(r"<unused95>"),
}
"""Each opening marker in lower case, and the pattern that closes it."""
_FRAMES = (
    "<|start|>assistant",
    "<|channel|>final<|message|>",
    "<|channel|>final <|constrain|>json<|message|>",
    "<|start_response|>",
    "<|begin_of_solution|>",
)
"""Markers between reasoning and answer that belong to neither."""
_FRAME_ENDS = re.compile(r"(?:<\|(?:end|return|call|end_response|end_of_solution)\|>\s*)+\Z", re.IGNORECASE)
_MARKERS = (*_CLOSINGS, *_FRAMES)
_LONE_CLOSING = re.compile(r"</think(?:ing)?\s*>|</seed:think>|\[/THINK\]|◁/think▷|<\|END_THINKING\|>")
_OPENING = re.compile(r"<(?:think(?:ing)?|seed:think)>|\[THINK\]|◁think▷|<\|START_THINKING\|>", re.IGNORECASE)
_SPACE = " \t\r\n\v\f\u00a0\ufeff\u200b"
_OVERLAP = 64
"""Longer than any marker. So many characters are held back, because a marker may span two chunks."""
_QUOTES = "`'\"“‘«(\\"


class _Mode(StrEnum):
    LEAD = "lead"
    REASONING = "reasoning"
    ANSWER = "answer"


class ReasoningSplit:
    """Splits streamed text into reasoning and answer."""

    def __init__(self) -> None:
        self.retractions = 0
        """How often returned text turned out to be reasoning."""
        self._mode = _Mode.LEAD
        self._closing = _CHANNEL_END
        self._space: list[str] = []
        self._held = ""
        self._reasoning: list[str] = []
        self._answer: list[str] = []
        self._found = False
        self._watching = True

    def restarted(self) -> ReasoningSplit:
        """Return a new splitter for an answer that replaces this one."""
        fresh = ReasoningSplit()
        fresh.retractions = self.retractions + bool(self._answer)
        return fresh

    def feed(self, piece: str) -> str:
        """Add a chunk. Returns the answer text that it completes."""
        added = ""
        while piece:
            if self._mode is _Mode.LEAD:
                piece = self._lead(piece)
            elif self._mode is _Mode.REASONING:
                piece = self._reason(piece)
            else:
                shown, piece = self._pass_answer(piece)
                added = "" if shown is None else added + shown
        return added

    def finish(self) -> str:
        """Return the text held back, once no chunk follows."""
        if self._mode is _Mode.REASONING:
            self._reasoning.append(self._held)
        rest = ""
        if self._mode is _Mode.LEAD:
            rest = self._held if self._found else "".join(self._space) + self._held
            self._answer.append(rest)
            self._mode = _Mode.ANSWER
        self._held = ""
        return rest

    def answer(self) -> str:
        """Return the answer so far, without reasoning."""
        text = "".join(self._answer)
        return _FRAME_ENDS.sub("", text) if self._found else text

    def reasoning(self) -> str:
        """Return the reasoning so far."""
        unfinished = self._held if self._mode is _Mode.REASONING else ""
        return ("".join(self._reasoning) + unfinished).strip()

    def _lead(self, piece: str) -> str:
        """Look for a marker at the beginning. Returns the text that remains to be processed."""
        if not self._held:
            text = piece.lstrip(_SPACE)
            self._space.append(piece[: len(piece) - len(text)])
        else:
            text = self._held + piece
        start = text[:_OVERLAP].lower()
        for marker in _MARKERS:
            if start.startswith(marker):
                self._enter(marker)
                return text[len(marker) :]
        if not start or (len(text) < _OVERLAP and any(marker.startswith(start) for marker in _MARKERS)):
            self._held = text
            return ""
        space = "" if self._found else "".join(self._space)
        self._mode, self._held = _Mode.ANSWER, ""
        return space + text

    def _enter(self, marker: str) -> None:
        self._found, self._held = True, ""
        if closing := _CLOSINGS.get(marker):
            self._mode, self._closing = _Mode.REASONING, closing

    def _reason(self, piece: str) -> str:
        window = self._held + piece
        if end := self._closing.search(window):
            self._close(window[: end.start()])
            return window[end.end() :]
        self._reasoning.append(window[:-_OVERLAP])
        self._held = window[-_OVERLAP:]
        return ""

    def _close(self, reasoning: str) -> None:
        self._reasoning.append(reasoning + "\n\n")
        self._mode, self._held, self._found = _Mode.LEAD, "", True

    def _pass_answer(self, piece: str) -> tuple[str | None, str]:
        """Return the part of the chunk that belongs to the answer (None: the answer so far was reasoning), and the rest
        to process."""
        window = self._held + piece
        if self._watching and not self._found and (end := _LONE_CLOSING.search(window)):
            self._watching = False
            before = "".join(self._answer).removesuffix(self._held) + window[: end.start()]
            if _closes_reasoning(before):
                self.retractions += 1
                self._answer.clear()
                self._close(before)
                return None, window[end.end() :]
        self._answer.append(piece)
        self._held = window[-_OVERLAP:] if self._watching and not self._found else ""
        return piece, ""


def _closes_reasoning(before: str) -> bool:
    """Whether a closing tag after this text ends reasoning. It does not within code or quotes, or after an opening
    tag."""
    if before.count("```") % 2 or before.endswith(tuple(_QUOTES)):
        return False
    if before.rpartition("\n")[2].count("`") % 2:
        return False
    return not _OPENING.search(before)
