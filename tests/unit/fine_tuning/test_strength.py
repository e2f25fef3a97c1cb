"""A weaker adapter has a smaller alpha in both of its formats."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kairos.fine_tuning.adapters.strength import UnknownAlpha, weaken
from tests.kit.lora_file import write_lora


def test_alpha_is_multiplied_in_both_files(tmp_path: Path):
    gguf = pytest.importorskip("gguf", reason="needs `make train`")
    write_lora(tmp_path / "adapter.gguf", 1)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 8, "lora_alpha": 16}))

    def alpha() -> float:
        return gguf.GGUFReader(tmp_path / "adapter.gguf").fields["adapter.lora.alpha"].contents()

    before, tensors = alpha(), (tmp_path / "adapter.gguf").stat().st_size
    weaken(tmp_path, 0.5)
    assert alpha() == before / 2
    assert (tmp_path / "adapter.gguf").stat().st_size == tensors
    assert json.loads((tmp_path / "adapter_config.json").read_text()) == {"r": 8, "lora_alpha": 8}


def test_file_without_alpha_is_refused(tmp_path: Path):
    (tmp_path / "adapter.gguf").write_bytes(b"GGUF and no metadata")
    (tmp_path / "adapter_config.json").write_text('{"lora_alpha": 16}')
    with pytest.raises(UnknownAlpha, match=r"adapter\.lora\.alpha"):
        weaken(tmp_path, 0.5)
