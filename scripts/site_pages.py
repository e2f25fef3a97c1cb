"""Write the pages of the documentation site into build/docs: python -m scripts.site_pages

The site needs every page below one folder. Files outside docs/ to which a page links are copied into
build/docs/repository, and the links follow them.
"""

from __future__ import annotations

import os
import re
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from scripts.documents import ROOT

DOCS = ROOT / "docs"
TARGET = ROOT / "build" / "docs"
REPOSITORY = TARGET / "repository"
HOME = ROOT / "README.md"
PROJECT_PAGES = (HOME, *(ROOT / name for name in ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")))
LINK = re.compile(r"""(\]\(|\b(?:href|src|srcset)=")([^()"\s]+)(?=[)"])""")


def main() -> None:
    """Replace the folder; zensical.toml lists its pages."""
    shutil.rmtree(TARGET, ignore_errors=True)
    pending = [*DOCS.rglob("*"), *PROJECT_PAGES]
    seen = set(pending)
    while pending:
        source = pending.pop()
        if source.is_file():
            linked = set(_write(source)) - seen
            seen |= linked
            pending += linked
    (TARGET / "decisions" / "index.md").write_text(_decisions())


def listed() -> set[str]:
    """Return the pages in the navigation of the site."""
    return set(_pages(tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]))


def place(source: Path) -> Path:
    """Return where the site has this file of the repository."""
    if source == HOME:
        return TARGET / "index.md"
    return TARGET / source.relative_to(DOCS) if source.is_relative_to(DOCS) else REPOSITORY / source.relative_to(ROOT)


def with_site_links(source: Path, text: str) -> tuple[str, list[Path]]:
    """Return the text of a page with links for the site, and the files to which it links."""
    linked: list[Path] = []

    def replaced(match: re.Match[str]) -> str:
        url = urlsplit(match[2])
        file = (source.parent / unquote(url.path)).resolve()
        if url.scheme or not url.path or not file.is_file() or not file.is_relative_to(ROOT):
            return match[0]
        linked.append(file)
        path = quote(os.path.relpath(place(file), place(source).parent))
        return match[1] + path + (f"#{url.fragment}" if url.fragment else "")

    return LINK.sub(replaced, text), linked


def _pages(entries: Any) -> Iterator[str]:
    if isinstance(entries, str):
        yield entries
    for entry in entries if isinstance(entries, list) else ():
        for value in entry.values():
            yield from _pages(value)


def _write(source: Path) -> Iterator[Path]:
    target = place(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.suffix != ".md":
        shutil.copyfile(source, target)
        return
    text, linked = with_site_links(source, source.read_text())
    target.write_text(text)
    yield from linked


def _decisions() -> str:
    """Return a page that lists the decision records by their headings."""
    records = sorted((DOCS / "decisions").glob("0*.md"))
    lines = [f"- [{record.read_text().splitlines()[0].lstrip('# ')}]({record.name})" for record in records]
    return (
        "# Decisions\n\nShort dated records of design decisions, with the alternatives.\n\n" + "\n".join(lines) + "\n"
    )


if __name__ == "__main__":
    main()
