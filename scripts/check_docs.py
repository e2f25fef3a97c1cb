"""Check README and docs without a network: python -m scripts.check_docs [FILE…]

- Relative links lead to a file of the repository, and fragments to a heading.
- Every code block has a language and can be parsed.
- Commands of `kairos` and their options, `make` targets and scripts exist, in code blocks and in inline code.
- Keys and values of `kairos.toml` are valid, and dotted keys and files in inline code exist.
- Names of documents in sources lead to a file.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from scripts import code_blocks, documents
from scripts.documents import ROOT, Document

GENERATED = (ROOT / "docs" / "cli.md",)
"""Generated from the commands themselves, with placeholders such as `[OPTIONS]`."""
SOURCES = ("src", "scripts", "dashboard/src", "tests", "benchmarks", "examples", "deploy", "*.toml", "Dockerfile")
NAMED_FILE = re.compile(r"(?<![\w/])docs/[\w/.-]+\.(?:md|svg|png)\b")


def main() -> int:
    paths = [Path(name).resolve() for name in sys.argv[1:]] or documents.paths()
    problems = [problem for path in paths for problem in of_document(documents.read(path))]
    problems += of_sources() if len(sys.argv) == 1 else ()
    print("\n".join(problems) or f"{len(paths)} documents: links, code blocks, commands and keys are valid")
    return 1 if problems else 0


def of_document(document: Document) -> list[str]:
    """Return the problems of a document, each with its place."""
    found = [*_links(document), *_blocks(document), *_inline(document)]
    return [f"{document.path.relative_to(ROOT)}:{line}: {problem}" for line, problem in found]


def of_sources() -> list[str]:
    """Return the paths of documents in sources that lead to no file."""
    listed = subprocess.run(["git", "ls-files", "--", *SOURCES], cwd=ROOT, capture_output=True, text=True, check=True)
    return [
        f"{name}: {target} does not exist"
        for name in listed.stdout.splitlines()
        if (ROOT / name).suffix in (".py", ".ts", ".tsx", ".toml", ".lua", ".sh", ".sql", ".yaml", ".yml", "")
        if not name.endswith(("prices.toml", "test_check_docs.py")) and (ROOT / name).is_file()
        for target in NAMED_FILE.findall((ROOT / name).read_text(errors="replace"))
        if not (ROOT / target).is_file()
    ]


def _links(document: Document) -> Iterator[tuple[int, str]]:
    for line, target in document.links:
        if problem := link_problem(document, target):
            yield line, f"link {target}: {problem}"


def link_problem(document: Document, target: str) -> str | None:
    """Return the reason why a link of the document leads nowhere, or None."""
    url = urlsplit(target)
    if url.scheme or url.netloc:
        return None if url.scheme in ("https", "mailto") and (url.netloc or url.path) else "use an https address"
    path = (document.path.parent / unquote(url.path)).resolve() if url.path else document.path
    if url.path and (not path.is_relative_to(ROOT) or not path.exists()):
        return "the file does not exist"
    if not url.fragment or path.suffix != ".md":
        return None
    anchors = (document if path == document.path else documents.read(path)).anchors
    return None if url.fragment in anchors else f"no such heading; there are {', '.join(sorted(anchors))}"


def _blocks(document: Document) -> Iterator[tuple[int, str]]:
    for block in document.blocks:
        for problem in code_blocks.problems(block, commands=document.path not in GENERATED):
            yield block.line, problem


def _inline(document: Document) -> Iterator[tuple[int, str]]:
    for line, code in document.inline:
        for problem in code_blocks.inline_problems(code):
            yield line, f"`{code}`: {problem}"


if __name__ == "__main__":
    sys.exit(main())
