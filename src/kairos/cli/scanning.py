"""`kairos model scan`: find models, and add selected ones to kairos.toml."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Sequence
from typing import Any

import typer

from kairos import config, config_file
from kairos.cli import output
from kairos.cli.context import Context
from kairos.errors import InvalidInput
from kairos.http import HttpClient
from kairos.llm.calls.providers import Providers
from kairos.llm.catalog.discovery import FoundModel, FoundServer, ScanResult, scan, settings_of
from kairos.proxies import Proxies

Pick = tuple[FoundServer, FoundModel]


def scan_models(context: Context, pick: Sequence[str], *, all_models: bool, json: bool) -> None:
    """Scan, show the models found, and add the selected ones."""
    findings = asyncio.run(_scan())
    choices = [(server, model) for server in findings.servers for model in server.models]
    if json and not (pick or all_models):
        return output.show_json([_as_json(server) for server in findings.servers])
    if not json:
        _show(findings, choices)
    picked = choices if all_models else _picked(choices, pick or _prompted(choices))
    if not picked:
        return None
    entries = settings_of(picked)
    path = config.config_path(context.file)
    known = config_file.model_names(path)
    added = config_file.add_models(path, [entry for entry in entries if entry.name not in known])
    if json:
        return output.show_json({"file": str(path), "added": added})
    output.out.print(f"added to {path}: {', '.join(added) or 'nothing new'}")
    output.err.print("restart Kairos to use them", style="dim")
    return None


async def _scan() -> ScanResult:
    async with HttpClient(proxies=Proxies.of(os.environ)) as http:
        providers = Providers(http)

        async def get_json(url: str) -> Any:
            return await http.get_json(url)

        return await scan(providers.list_models, os.environ, get_json=get_json)


def _show(findings: ScanResult, choices: Sequence[Pick]) -> None:
    if not findings.servers:
        output.out.print(
            "nothing found: no Ollama, vLLM, llama.cpp or LM Studio on its default port, and no provider's API key in "
            "the environment (OPENAI_API_KEY, ANTHROPIC_API_KEY, GEMINI_API_KEY, MISTRAL_API_KEY, OPENROUTER_API_KEY)"
        )
        return
    for server in findings.servers:
        key = f", key from {server.api_key_env}" if server.api_key_env else ""
        output.out.print(output.line(output.bold(server.kind), f" {output.plain(server.base_url)}{key}"))
        if server.problem:
            output.out.print(f"  {output.plain(server.problem)}", style="yellow")
    rows = [
        [
            str(number),
            output.plain(f"{server.kind}/{model.name}"),
            "local" if model.local else "cloud",
            "unknown" if model.price is None else f"{model.price.input:g}, {model.price.output:g}",
            "–" if model.context is None else str(model.context),
        ]
        for number, (server, model) in enumerate(choices, 1)
    ]
    output.out.print(output.table(["#", "model", "where", "$/M in, out#?", "context#?"], rows))


def _prompted(choices: Sequence[Pick]) -> list[str]:
    """Prompt for the models on a terminal; without one, none is selected."""
    if not choices or not sys.stdin.isatty():
        return []
    answer = typer.prompt(
        "Models to add: numbers such as 1,3-5, or `all`; empty for none", default="", show_default=False
    )
    return re.split(r"[\s,]+", answer.strip()) if answer.strip() else []


def _picked(choices: Sequence[Pick], wanted: Sequence[str]) -> list[Pick]:
    """The models selected by number, range of numbers or name. Raises `InvalidInput` for anything else."""
    picked: dict[int, Pick] = {}
    for selector in wanted:
        for number in _numbers(choices, selector):
            picked[number] = choices[number - 1]
    return list(picked.values())


def _numbers(choices: Sequence[Pick], selector: str) -> list[int]:
    if selector == "all":
        return list(range(1, len(choices) + 1))
    if found := re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", selector):
        first, last = int(found[1]), int(found[2] or found[1])
        if 1 <= first <= last <= len(choices):
            return list(range(first, last + 1))
    names = [(model.name, f"{server.kind}/{model.name}") for server, model in choices]
    found_by_name = [number for number, forms in enumerate(names, 1) if selector in forms]
    if not found_by_name:
        raise InvalidInput(where="pick", problem=f"{selector!r} is not in the list", remedy=f"Use 1 to {len(choices)}")
    return found_by_name


def _as_json(server: FoundServer) -> dict[str, Any]:
    return {
        "kind": server.kind,
        "base_url": server.base_url,
        "api_key_env": server.api_key_env,
        "local": server.local,
        "problem": server.problem,
        "models": [
            {
                "name": model.name,
                "local": model.local,
                "context": model.context,
                "price": {"input": model.price.input, "output": model.price.output} if model.price else None,
            }
            for model in server.models
        ],
    }
