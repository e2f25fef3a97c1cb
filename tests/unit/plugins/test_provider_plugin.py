"""Providers of plugins: which classes are valid, and what the daemon makes of them."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest

from kairos.http import HttpClient, HttpLimits
from kairos.llm.answers.answer import ProviderFault
from kairos.llm.calls.provider import Feature, Framing
from kairos.llm.calls.server import Server
from kairos.llm.catalog.catalog import Model
from kairos.plugins import probe
from kairos.plugins.plugin_provider import PluginProvider, ProviderCallFailed
from kairos.plugins.provider_plugin import ProviderPlugin
from kairos.plugins.sources import Origin, PluginSource, load, of_file
from tests.kit.provider_bench import EXAMPLE

SOURCE = """
from kairos.llm.calls.provider import ServerRequest
from kairos.plugins.provider_plugin import ProviderPlugin

class Tiny(ProviderPlugin):
    \"\"\"Answers in the OpenAI form.\"\"\"
    {more}
    def get_name(self): return {name!r}
    def chat_request(self, model, body): return ServerRequest(model.base_url, body)
    def answer_parser(self): return None
"""

ASYNC = """\
def __init__(self): self.chat_request = self.chosen
async def chosen(self, model, body): pass
"""


def examined(folder: Path, name: str = "tiny", more: str = "") -> dict[str, Any]:
    """Return what the probe reports of a file."""
    file = folder / "Tiny.py"
    file.write_text(SOURCE.format(name=name, more=textwrap.indent(textwrap.dedent(more), "    ").strip()))
    return probe.examine(of_file(file))


def test_provider_is_found_with_its_name_and_description(tmp_path: Path):
    (about,) = examined(tmp_path)["plugins"]
    assert about["error"] is None
    assert (about["name"], about["is_provider"], about["is_async"]) == ("tiny", True, True)
    assert about["description"] == "Answers in the OpenAI form."


def test_provider_of_an_installed_package_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """An entry point of the group `kairos.plugins` names the class."""
    (tmp_path / "acme_provider.py").write_text(EXAMPLE.read_text())
    monkeypatch.syspath_prepend(str(tmp_path))
    (about,) = probe.examine(PluginSource(Origin.PACKAGE, "acme_provider:CohereProvider", "acme: cohere"))["plugins"]
    assert (about["name"], about["is_provider"]) == ("cohere", True)


@pytest.mark.parametrize(
    ("name", "more", "problem"),
    [
        ("a b", "", "get_name returned"),
        ("tiny", ASYNC, "chosen is `async def`"),
        ("tiny", "def list_models(self, server): return []", "list_models must be `async def`"),
        ("tiny", "def __init__(self): raise ValueError('no licence')", "no licence"),
    ],
)
def test_invalid_provider_is_reported(tmp_path: Path, name: str, more: str, problem: str):
    (about,) = examined(tmp_path, name, more)["plugins"]
    assert problem in about["error"]


def test_class_without_a_method_is_no_provider(tmp_path: Path):
    file = tmp_path / "Half.py"
    file.write_text("from kairos.plugins.provider_plugin import ProviderPlugin\nclass Half(ProviderPlugin): pass\n")
    assert "Half is missing answer_parser, chat_request, get_name" in probe.examine(of_file(file))["error"]


class Odd(ProviderPlugin):
    """A provider whose features can be set."""

    def get_name(self) -> str:
        return "odd"

    def chat_request(self, model: Model, body: Any) -> Any:
        raise OSError("no disk")

    def answer_parser(self) -> Any:
        return None


def test_features_and_framing_are_checked():
    class Wrong(Odd):
        features = ("telepathy",)

    class Framed(Odd):
        framing = "packets"

    for kind in (Wrong, Framed):
        with pytest.raises(ValueError, match="is not a valid"):
            PluginProvider("odd", kind())
    provider = PluginProvider("odd", Odd())
    assert (provider.features, provider.framing) == ({Feature.STREAMS}, Framing.EVENTS)


def test_error_of_a_plugin_is_a_fault_of_its_provider():
    provider = PluginProvider("odd", Odd())
    with pytest.raises(ProviderFault, match="odd: OSError: no disk"):
        provider.chat_request(Model("m", "m", "http://x"), {})


async def test_fault_of_a_plugin_in_its_list_is_an_error_without_the_key(caplog: pytest.LogCaptureFixture):
    class Failing(Odd):
        async def list_models(self, server: Server) -> Any:
            raise OSError(f"no disk for {server.api_key}")

    class Seven(Odd):
        async def list_models(self, server: Server) -> Any:
            return 7

    server = Server(HttpClient(), "http://x/?a=1", "sk-secret", HttpLimits())
    for kind, reason in ((Failing, r"no disk for \*\*\*"), (Seven, "returned a int")):
        provider = PluginProvider("odd", kind())
        with pytest.raises(ProviderCallFailed, match=reason):
            await provider.list_models(server)
        with pytest.raises(ProviderCallFailed):
            await provider.describe(server, "m")
    assert "no disk for ***" in caplog.text
    assert "sk-secret" not in caplog.text


def test_example_is_a_valid_provider():
    plugin = load(of_file(EXAMPLE)).CohereProvider()
    assert PluginProvider("cohere", plugin).answer_parser() is not None
