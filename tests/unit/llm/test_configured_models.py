"""The models of `kairos.toml` whose servers serve adapters."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from kairos.assembly.llm import build_catalog
from kairos.config import ModelSettings, Settings
from kairos.embedded import Addresses
from kairos.llm.catalog.catalog import AdapterHost, Model

NO_ENGINES = Addresses("", "", "", "", None, None)


def entry(**values: object) -> ModelSettings:
    return ModelSettings.model_validate({"name": "smol", "base_url": "http://models:8000/v1", **values})


def model(**values: object) -> Model:
    [found] = build_catalog(Settings(models=[entry(**values)]), NO_ENGINES)
    return found


def test_model_knows_the_kind_of_its_server_and_where_that_sees_the_adapters():
    found = model(adapters="vllm", adapters_path="/adapters")
    assert (found.adapter_host, found.adapters_path, found.body) == (AdapterHost.VLLM, "/adapters", {})


def test_base_on_llama_cpp_is_called_without_adapters():
    """An empty list would mean the server's own scales, which are 1 by default."""
    assert model(adapters="llamacpp").body == {"lora": [{"id": 0, "scale": 0.0}]}


def test_only_models_on_ollama_share_a_runner_with_their_adapters():
    assert model(adapters="ollama").runner
    assert model(adapters="vllm").runner is None


@pytest.mark.parametrize("path", ["adapters", "./adapters", "", "org/adapter", "~/adapters", "/a\nb"])
def test_path_that_vllm_would_take_for_a_repository_is_refused(path: str):
    with pytest.raises(ValidationError, match="not an absolute path"):
        entry(adapters="vllm", adapters_path=path)


@pytest.mark.parametrize("path", ["/adapters", "/adapters/", "C:\\adapters", "D:/adapters"])
def test_absolute_path_is_accepted(path: str):
    assert entry(adapters="vllm", adapters_path=path).adapters_path == path
