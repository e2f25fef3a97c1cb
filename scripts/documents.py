"""Markdown documents of the repository: their headings, links and code blocks."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[1]
PARSER = MarkdownIt("commonmark").enable("table")
HTML_LINK = re.compile(r"""<(?:a|img|source)\b[^>]*?\b(?:href|src|srcset)="([^"]+)\"""")


@dataclass(frozen=True, slots=True)
class CodeBlock:
    """A fenced block, or an indented one, which has no language."""

    language: str
    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Document:
    """A Markdown file, parsed."""

    path: Path
    links: list[tuple[int, str]] = field(default_factory=list)
    """Targets of links and images, with the line of their paragraph."""
    blocks: list[CodeBlock] = field(default_factory=list)
    inline: list[tuple[int, str]] = field(default_factory=list)
    """Inline code, with the line of its paragraph."""
    headings: list[str] = field(default_factory=list)

    @property
    def anchors(self) -> set[str]:
        """Fragments that lead to a heading both on GitHub and on the site."""
        return set(_numbered(map(github_slug, self.headings), "-")) & set(_numbered(map(site_slug, self.headings), "_"))


def paths() -> list[Path]:
    """Return all documents that are checked."""
    return sorted({*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")})


@cache
def read(path: Path) -> Document:
    """Return a file, parsed."""
    return parse(path, path.read_text())


def parse(path: Path, text: str) -> Document:
    """Return a document with this text. Relative links start at the path."""
    document = Document(path)
    tokens = PARSER.parse(text)
    for number, token in enumerate(tokens):
        line = token.map[0] + 1 if token.map else 0
        if token.type in ("fence", "code_block"):
            document.blocks.append(CodeBlock(token.info.split(" ")[0], token.content, line))
        elif token.type == "html_block":
            document.links.extend((line, target) for target in HTML_LINK.findall(token.content))
        elif token.type == "inline":
            _add_inline(document, token, line)
            if tokens[number - 1].type == "heading_open":
                document.headings.append(_plain(token))
    return document


def github_slug(heading: str) -> str:
    """Return GitHub's fragment for a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def site_slug(heading: str) -> str:
    """Return the fragment of Python-Markdown's extension `toc`, which the site uses."""
    ascii_text = unicodedata.normalize("NFKD", heading).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", ascii_text).strip().lower())


def _numbered(slugs: Iterator[str], separator: str) -> Iterator[str]:
    """Yield the slugs; a repeated one gets a number."""
    seen: dict[str, int] = {}
    for slug in slugs:
        count = seen[slug] = seen.get(slug, -1) + 1
        yield f"{slug}{separator}{count}" if count else slug


def _add_inline(document: Document, token: Token, line: int) -> None:
    for child in token.children or ():
        if child.type == "code_inline":
            document.inline.append((line, child.content))
        elif child.type == "link_open":
            document.links.append((line, str(child.attrs["href"])))
        elif child.type == "image":
            document.links.append((line, str(child.attrs["src"])))
        elif child.type == "html_inline":
            document.links.extend((line, target) for target in HTML_LINK.findall(child.content))


def _plain(token: Token) -> str:
    return "".join(child.content for child in token.children or () if child.type in ("text", "code_inline"))
