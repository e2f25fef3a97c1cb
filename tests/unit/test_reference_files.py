"""Generated files in the repository are current, and the commented kairos.toml is valid."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kairos import config
from kairos.config_reference import by_name, model_table
from scripts.reference import ROOT, files


@pytest.mark.parametrize("path", files(), ids=lambda path: path.name)
def test_generated_file_is_current(path: Path):
    assert path.read_text() == files()[path](), "run: python -m scripts.reference"


def test_commented_file_is_valid_with_all_lines_uncommented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Lines that start with `# key = ` or `# [table]` are uncommented."""
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    lines = [line[2:] for line in files()[ROOT / "kairos.toml"]().splitlines() if re.match(r"# (\w+ = |\[)", line)]
    (tmp_path / "kairos.toml").write_text("\n".join(lines))
    settings = config.load(tmp_path / "kairos.toml")
    assert settings.models[0].adapters == "ollama"
    assert len(lines) == len(by_name()) + len(model_table().keys) + sum(line.startswith("[") for line in lines)
