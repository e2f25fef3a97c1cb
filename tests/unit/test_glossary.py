"""User-facing texts contain none of the synonyms that the glossary rejects."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GLOSSARY = ROOT / "docs" / "glossary.md"
MESSAGES = ROOT / "dashboard" / "src" / "messages"
ENGLISH_ENDING = r"(?:s|es|ed|ing)?\b"
TURKISH_ENDING = r"\w*"
"""Turkish nouns can have any number of endings."""


@dataclass(frozen=True, slots=True)
class GlossaryEntry:
    """One row of the glossary."""

    term: str
    meaning: str
    turkish: str
    rejected: tuple[str, ...]
    rejected_turkish: tuple[str, ...]


def _entry(line: str) -> GlossaryEntry:
    term, meaning, turkish, rejected, rejected_turkish = (cell.strip() for cell in line.strip("|").split("|"))
    return GlossaryEntry(term, meaning, turkish, _list(rejected), _list(rejected_turkish))


def _list(cell: str) -> tuple[str, ...]:
    return tuple(term.strip() for term in cell.split(",") if term.strip())


ENTRIES = [_entry(line) for line in GLOSSARY.read_text().splitlines() if line.startswith("| ")][2:]
REJECTED = sorted({term for entry in ENTRIES for term in entry.rejected})
REJECTED_TURKISH = sorted({term for entry in ENTRIES for term in entry.rejected_turkish})
DOCUMENTS = sorted({*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")} - {GLOSSARY, ROOT / "CODE_OF_CONDUCT.md"})
"""`docs/cli.md` contains the help of every command, and `docs/configuration.md` every configuration key. The code of
conduct keeps the wording of its source."""


def lowered(text: str) -> str:
    """Return the text in lowercase by both Turkish and English rules, with all forms of i as "i"."""
    return re.sub("[Iİıi]", "i", text).lower()


def rejected_in(text: str) -> set[str]:
    """Return the rejected synonyms that occur in the text, in any inflected form."""
    text = re.sub(r"\s+", " ", lowered(text))
    english = {term for term in REJECTED if re.search(rf"\b{lowered(term)}{ENGLISH_ENDING}", text)}
    return english | {term for term in REJECTED_TURKISH if re.search(rf"\b{lowered(term)}{TURKISH_ENDING}", text)}


def prose_of(markdown: str) -> str:
    """Return a document without code blocks, inline code and link targets."""
    text = re.sub(r"^```.*?^```", "", markdown, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^ {4,}.*$", "", text, flags=re.MULTILINE)
    return re.sub(r"`[^`]*`|\]\([^)]*\)", " ", text)


def messages_of(source: str) -> dict[str, str]:
    """Return the texts of a message file by key; plural forms are joined."""
    found = re.findall(r'^  "([\w.:-]+)":\s*(.+)$', source, re.MULTILINE)
    return {key: " / ".join(re.findall(r'"((?:[^"\\]|\\.)*)"', value)) for key, value in found}


def test_every_term_has_one_entry_with_meaning_and_translation():
    terms = [entry.term for entry in ENTRIES]
    assert len(terms) == len(set(terms)) > 30
    assert all(entry.meaning and entry.turkish for entry in ENTRIES)


def test_no_term_is_rejected_elsewhere():
    assert not {entry.term for entry in ENTRIES} & set(REJECTED)
    assert not {entry.turkish for entry in ENTRIES} & set(REJECTED_TURKISH)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_documents_contain_no_rejected_synonym(document: Path):
    assert rejected_in(prose_of(document.read_text())) == set()


@pytest.mark.parametrize("file", sorted(MESSAGES.glob("*/*.ts")), ids=lambda path: str(path.relative_to(MESSAGES)))
def test_dashboard_messages_contain_no_rejected_synonym(file: Path):
    messages = messages_of(file.read_text())
    assert messages
    assert {key: found for key, text in messages.items() if (found := rejected_in(text))} == {}


def test_all_messages_are_read():
    for language in ("en", "tr"):
        source = "".join(file.read_text() for file in (MESSAGES / language).glob("*.ts"))
        messages = messages_of(source)
        assert len(messages) == len(re.findall(r'^  "', source, re.MULTILINE)) > 500
        assert all(messages.values())


@pytest.mark.parametrize("term", REJECTED)
def test_rejected_synonym_is_found(term: str):
    document = (ROOT / "README.md").read_text()
    for form in (term, term.capitalize(), f"{term}s", term.replace(" ", "\n")):
        assert rejected_in(prose_of(f"{document}\nThe {form} of a task.\n")) == {term}
        assert rejected_in(messages_of(f'  "a.b": {{ one: "One", other: "Two, {form}" }},'.replace("\n", " "))["a.b"])


@pytest.mark.parametrize("term", REJECTED_TURKISH)
def test_rejected_turkish_synonym_is_found_with_its_endings(term: str):
    for form in (term, f"{term}ler", f"{term}inin", term.upper(), term.replace("i", "İ").upper()):
        assert rejected_in(f"Bu {form} burada.") == {term}


def test_code_and_longer_terms_are_not_searched():
    fenced = "```\nerrand\n```\n"
    assert rejected_in(prose_of(f"{fenced}\n    errand --list\n\n`errand` and [a task](errand.md)")) == set()
    assert rejected_in("a remarkable score") == set()
