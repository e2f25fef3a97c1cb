"""Links, code blocks, commands and keys in the documentation are valid, and faults in them are found."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import architecture_picture, check_docs, code_blocks, documents, site_pages
from scripts.documents import ROOT, CodeBlock

PAGE = ROOT / "docs" / "page.md"


def problems_of(text: str) -> list[str]:
    """Return the problems of a page in docs/ with this text."""
    return check_docs.of_document(documents.parse(PAGE, text))


@pytest.mark.parametrize("path", documents.paths(), ids=lambda path: str(path.relative_to(ROOT)))
def test_document_is_valid(path: Path):
    assert check_docs.of_document(documents.read(path)) == []


def test_documents_named_in_sources_exist():
    assert check_docs.of_sources() == []


@pytest.mark.parametrize(
    "target",
    [
        "missing.md",
        "../missing.md",
        "../../outside.md",
        "router.md#no-such-heading",
        "#no-such-heading",
        "http://example.org",
        "https://",
        "pictures/missing.svg",
    ],
)
@pytest.mark.parametrize(
    "form", ["[a]({})", "![a]({})", '<img src="{}">', 'a <a href=\'x\' id="y" href="{}">b</a>', "[a]\n\n[a]: {}"]
)
def test_broken_link_is_found(target: str, form: str):
    assert len(problems_of(f"# Page\n\n{form.format(target)}\n")) == 1


@pytest.mark.parametrize(
    "target",
    [
        "router.md",
        "../README.md",
        "router.md#score",
        "#page",
        "https://example.org/a#b",
        "pictures/task-dark.png",
        "how-to/",
    ],
)
def test_working_link_is_accepted(target: str):
    assert problems_of(f"# Page\n\n[a]({target})\n") == []


def test_fragment_must_be_the_same_on_github_and_on_the_site():
    assert documents.github_slug("A – b & c") == "a--b--c"
    assert documents.site_slug("A – b & c") == "a-b-c"
    text = "# Page\n\n## A – b & c\n\n## Plain `code` text\n\n## Twice\n\n## Twice\n"
    assert documents.parse(PAGE, text).anchors == {"page", "plain-code-text", "twice"}


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("", "a"),
        ("sh", "a"),
        ("bash", "if true"),
        ("bash", "echo 'a"),
        ("bash", "kairos frobnicate"),
        ("bash", "kairos task frobnicate"),
        ("bash", "kairos task submit --no-such-option"),
        ("bash", "kairos task submit a --require=b --no-such-option=c"),
        ("bash", "cd a && KAIROS_URL=x .venv/bin/kairos task lst | head"),
        ("bash", "kairos task submit a \\\n  --no-such-option"),
        ("bash", "docker compose exec kairos kairos user frobnicate"),
        ("bash", "make no-such-target"),
        ("bash", "python -m benchmarks.no_such_file"),
        ("bash", "scripts/no_such_file.sh"),
        ("bash", "curl -s http://127.0.0.1:8484/api/no-such-path"),
        ("bash", "KAIROS_QUEUE__NO_SUCH_KEY=1 true"),
        ("console", "output only"),
        ("console", "$ kairos frobnicate\noutput"),
        ("json", "{'a': 1}"),
        ("python", "def a(:"),
        ("yaml", "a: [b"),
        ("toml", "a = "),
        ("toml", "no_such_key = 1"),
        ("toml", "[queue]\nno_such_key = 1"),
        ("toml", '[server]\nport = "many"'),
        ("toml", '[[models]]\nname = "a"\nno_such_key = 1\nbase_url = "http://a/v1"'),
    ],
)
def test_faulty_block_is_found(language: str, text: str):
    assert len(list(code_blocks.problems(CodeBlock(language, text, 1)))) == 1


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("bash", "kairos task submit 'a b' --require --not-an-option --wait  # --comment"),
        ("bash", "echo kairos frobnicate"),
        ("bash", "docker run kairos kairos-container"),
        ("bash", "kubectl exec deploy/kairos -- kairos user reset-password ada@example.org"),
        ("bash", "A=1 make test"),
        ("console", "$ kairos status --json\n{}"),
        ("toml", "[queue]\nlease_s = 20"),
        ("toml", '[project.entry-points."kairos.plugins"]\na = "b:C"'),
        ("text", "anything {"),
    ],
)
def test_valid_block_is_accepted(language: str, text: str):
    assert list(code_blocks.problems(CodeBlock(language, text, 1))) == []


def test_indented_code_is_refused_because_its_language_is_unknown():
    assert len(problems_of("# Page\n\n    kairos status\n")) == 1


@pytest.mark.parametrize(
    "code",
    [
        "kairos frobnicate",
        "kairos task submit --no-such-option",
        "make no-such-target",
        "queue.no_such_key",
        "[queue] no_such_key",
        "--no-such-option",
        "GET /api/no-such-path",
        "/api/tasks/{id}/no-such-path",
        "kairos config set queue.no_such_key=1",
        "kairos config unset project.no_such_key",
        "KAIROS_QUEUE__NO_SUCH_KEY=1",
        "src/kairos/no_such_file.py",
        "tests/no_such_file.py::test_a",
        "python -m scripts.no_such_file",
    ],
)
def test_faulty_inline_code_is_found(code: str):
    assert len(problems_of(f"# Page\n\nRun `{code}`.\n")) == 1


@pytest.mark.parametrize(
    "code",
    [
        "kairos task submit",
        "queue.lease_s",
        "queue.lua",
        "[queue] lease_s",
        "--require",
        "POST /api/tasks/{id}/cancel",
        "kairos config set project.KEY=VALUE",
        "src/kairos/",
        "no.such_key",
        "make lint",
    ],
)
def test_valid_inline_code_is_accepted(code: str):
    assert problems_of(f"# Page\n\nRun `{code}`.\n") == []


def test_links_out_of_the_docs_folder_lead_to_copies_on_the_site():
    text = '[a](../SECURITY.md#scope), [b](router.md), [c](https://example.org), <img src="pictures/task-dark.png">'
    moved, linked = site_pages.with_site_links(ROOT / "docs" / "security.md", text)
    assert moved == text.replace("../SECURITY.md", "repository/SECURITY.md")
    assert {path.name for path in linked} == {"SECURITY.md", "router.md", "task-dark.png"}
    back, _ = site_pages.with_site_links(ROOT / "SECURITY.md", "[a](docs/security.md)")
    assert back == "[a](../security.md)"


def test_navigation_of_the_site_lists_every_page():
    pages = {*documents.paths(), *site_pages.PROJECT_PAGES} - {ROOT / "AGENTS.md", ROOT / "CODE_OF_CONDUCT.md"}
    places = {str(site_pages.place(page).relative_to(site_pages.TARGET)) for page in pages}
    records = {place for place in places if place.startswith("decisions/")}
    assert site_pages.listed() == places - records | {"decisions/index.md"}


@pytest.mark.parametrize("path", architecture_picture.files(), ids=lambda path: path.name)
def test_architecture_picture_is_current(path: Path):
    assert path.read_text() == architecture_picture.files()[path], "run: python -m scripts.architecture_picture"
