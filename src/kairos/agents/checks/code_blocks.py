"""Extracts the code from an answer. Everything else is blanked, so that line numbers match the answer."""

from __future__ import annotations

import re
from dataclasses import dataclass

FENCE = re.compile(r"^(?P<indent>[ \t]{0,12})(?P<fence>`{3,}|~{3,})[ \t]*(?P<info>[^`\n]*)$")
PYTHON = frozenset({"python", "py", "python3", "py3"})


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block."""

    language: str
    """The first token after the fence, in lower case; may be empty."""
    first_line: int
    """1-based line of the answer on which the content begins."""
    lines: tuple[str, ...]
    closed: bool

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def is_session(self) -> bool:
        """Whether the block shows an interactive session, not a program."""
        return next((line for line in self.lines if line.strip()), "").lstrip().startswith(">>>")


def fenced_blocks(text: str) -> list[Block]:
    """Return all fenced blocks in order. As in CommonMark, a closing fence is at least as long."""
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
    """Whether the answer has a block marked as Python."""
    return any(block.language in PYTHON for block in fenced_blocks(text))


def python_source(text: str) -> str:
    """Return the answer's Python code on its original lines.

    That is all blocks marked as Python, else all unmarked blocks, else the whole text. Interactive sessions (`>>>`) are
    illustrations and are left out.
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
    """Return the fenced block if it is the whole answer, else None."""
    blocks = fenced_blocks(text.strip())
    if len(blocks) == 1 and len(blocks[0].lines) + 1 + blocks[0].closed == text.strip().count("\n") + 1:
        return blocks[0]
    return None


def _closes(opening: re.Match[str], match: re.Match[str]) -> bool:
    fence, wanted = match["fence"], opening["fence"]
    return fence[0] == wanted[0] and len(fence) >= len(wanted) and not match["info"].strip()


def _block(opening: re.Match[str], start: int, lines: list[str], *, closed: bool) -> Block:
    """Build a block. In a list, the fence and its content are indented together."""
    width = len(opening["indent"])
    dedented = tuple(line[min(width, len(line) - len(line.lstrip(" \t"))) :] for line in lines)
    info = opening["info"].split()
    return Block(info[0].lower() if info else "", start, dedented, closed)
