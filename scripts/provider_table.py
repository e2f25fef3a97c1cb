"""Write docs/how-to/provider-features.md from the features that each protocol declares:
python -m scripts.provider_table

tests/fundamentals/test_provider_contract.py proves each of them, and compares the page with the results.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kairos.llm.calls.provider import Feature
from kairos.llm.calls.providers import BUILT_IN

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "how-to" / "provider-features.md"
EXAMPLE = ROOT / "examples" / "plugins" / "CohereProvider.py"
TITLES = {
    "openai": "`openai`",
    "ollama": "`ollama`",
    "anthropic": "`anthropic`",
    "plugin:cohere": "`plugin:cohere` (example)",
}
MEANINGS = {
    Feature.STREAMS: "Text arrives while the server generates it",
    Feature.TOOLS: "Tools, their calls and results",
    Feature.JSON_SCHEMA: "Answers that match a JSON schema",
    Feature.IMAGES: "Images in messages",
    Feature.REASONING: "Reasoning is requested, and separate from the answer",
    Feature.USAGE: "Tokens of prompt and answer",
    Feature.CACHED_TOKENS: "Tokens from the server's prompt cache",
    Feature.CACHE_CONTROL: "`cache_control` marks reach the server",
    Feature.LOAD_TIME: "Time for loading the model, which does not count as its latency",
    Feature.CHOSEN_CONTEXT: "Each request sets the model's context",
    Feature.LISTED_CONTEXT: "The server reports the context of a model",
    Feature.LISTED_CAPABILITIES: "The server reports what a model supports",
    Feature.ADAPTERS: "Adapters of a model",
}
HEAD = """\
# What each protocol supports

<!-- Written by `python -m scripts.provider_table`. The contract test proves each cell and compares both. -->

The `protocol` of a model determines how Kairos calls its server; see [other servers and providers](providers.md).
A cell states what the protocol can transport. Whether a certain model or server supports it is another question:
a server that refuses a parameter is called without it from then on.

"""


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")


def page() -> str:
    """The page for the declared features."""
    return HEAD + table(_declared())


def table(features: Mapping[str, Iterable[str]]) -> str:
    """A table with a column for each protocol."""
    rows = [["", *(TITLES[protocol] for protocol in features)], ["---"] * (len(features) + 1)]
    for feature, meaning in MEANINGS.items():
        rows.append([meaning, *("yes" if feature in found else "–" for found in features.values())])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def column(text: str, protocol: str) -> set[Feature]:
    """The features of a protocol in the page."""
    rows = [line.strip("|\n ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    place = [cell.strip() for cell in rows[0]].index(TITLES[protocol]) - len(rows[0])
    features = {meaning: feature for feature, meaning in MEANINGS.items()}
    return {features[row[0].strip()] for row in rows[2:] if row[place].strip() == "yes"}


def _declared() -> dict[str, frozenset[Feature]]:
    return {
        **{protocol: provider.features for protocol, provider in BUILT_IN.items()},
        "plugin:cohere": frozenset(map(Feature, _example().features)),
    }


def _example() -> Any:
    spec = importlib.util.spec_from_file_location("kairos_example_provider", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.CohereProvider


if __name__ == "__main__":
    main()
