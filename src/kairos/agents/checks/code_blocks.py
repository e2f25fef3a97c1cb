"""The code in an answer. Everything that is not code is blanked, so that line numbers are those of the answer."""

from __future__ import annotations

import re
from dataclasses import dataclass

FENCE = re.compile(r"^(?P<indent>[ \t]{0,12})(?P<fence>`{3,}|~{3,})[ \t]*(?P<info>[^`\n]*)$")
PYTHON = frozenset({"python", "py", "python3", "py3"})


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block."""

    language: str
    """The first word after the fence, in lower case; empty when there is none."""
    first_line: int
    """1-based line of the answer on which its content begins."""
    lines: tuple[str, ...]
    closed: bool

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def is_session(self) -> bool:
        """Whether it shows an interactive session and is no program."""
        return next((line for line in self.lines if line.strip()), "").lstrip().startswith(">>>")


def fenced_blocks(text: str) -> list[Block]:
    """All fenced blocks, in order (CommonMark's rule: a fence is closed by one of the same kind, at least as long)."""
    blocks: list[Block] = []
    opening: re.Match[str] | None = None
    start, lines = 0, []
    for number, line in enumerate(text.split("\n"), 1):
        match = FENCE.match(line.rstrip("\r"))
        if opening is None:
            if match:
                opening, start, lines = match, number + 1, []
        elif match and _closes(opening, match):
            blocks.append(_block(opening, start, lines, closed=True))
            opening = None
        else:
            lines.append(line)
    if opening is not None:
        blocks.append(_block(opening, start, lines, closed=False))
    return blocks


def has_python(text: str) -> bool:
    """Whether the answer marks something as Python."""
    return any(block.language in PYTHON for block in fenced_blocks(text))


def python_source(text: str) -> str:
    """The answer's Python, on the lines where it stands.

    Blocks fenced as Python are taken together, in order; else those fenced as nothing; else the whole text. A block
    that shows an interactive session (`>>>`) is an illustration and is left out.
    """
    blocks = fenced_blocks(text)
    chosen = [block for block in blocks if block.language in PYTHON and not block.is_session]
    chosen = chosen or [block for block in blocks if not block.language and not block.is_session]
    if not chosen:
        return text
    lines = [""] * (text.count("\n") + 1)
    for block in chosen:
        at = block.first_line - 1
        lines[at : at + len(block.lines)] = block.lines
    return "\n".join(lines)


def sole_block(text: str) -> Block | None:
    """The fenced block that is the whole answer, or None."""
    blocks = fenced_blocks(text.strip())
    if len(blocks) == 1 and len(blocks[0].lines) + 1 + blocks[0].closed == text.strip().count("\n") + 1:
        return blocks[0]
    return None


def _closes(opening: re.Match[str], match: re.Match[str]) -> bool:
    fence, wanted = match["fence"], opening["fence"]
    return fence[0] == wanted[0] and len(fence) >= len(wanted) and not match["info"].strip()


def _block(opening: re.Match[str], start: int, lines: list[str], *, closed: bool) -> Block:
    """A fence in a list is indented, and its content with it."""
    width = len(opening["indent"])
    dedented = tuple(line[min(width, len(line) - len(line.lstrip(" \t"))) :] for line in lines)
    words = opening["info"].split()
    return Block(words[0].lower() if words else "", start, dedented, closed)
