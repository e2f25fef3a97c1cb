"""`kairos router`: explain, leaderboard, replay, cache, judge."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from kairos.cli import output
from kairos.cli.context import Json, context_of

app = typer.Typer(help="Routing decisions, model results, and replays of recorded data.", no_args_is_help=True)


@app.command()
def explain(
    context: typer.Context, task_id: Annotated[str, typer.Argument(help="Id of a task.")], json: Json = False
) -> None:
    """Show all routing decisions of a task, with the terms of every candidate's score."""
    decisions = context_of(context).client().get(f"/api/tasks/{task_id}")["decisions"]
    if json:
        return output.show_json(decisions)
    if not decisions:
        return output.out.print("no model has been called for this task yet")
    for decision in decisions:
        output.out.print(output.decision_table(decision))
    return None


@app.command()
def leaderboard(
    context: typer.Context,
    days: Annotated[int, typer.Option(min=1, max=365, help="Number of days.")] = 30,
    json: Json = False,
) -> None:
    """Show the results of the models by task type in the active project."""
    board = context_of(context).client().get("/api/leaderboard", days=days)
    if json:
        return output.show_json(board)
    if not board["items"]:
        return output.out.print(f"no model was called in the last {days} days")
    columns = [
        *(
            "task type",
            "model",
            "quality#",
            "measured#?",
            "share#?",
            "failed#?",
            "first token#?",
            "answer#?",
            "spent#?",
        ),
    ]
    rows = [_row(kind["task_type"], model) for kind in board["items"] for model in kind["models"]]
    output.out.print(output.table(columns, rows))
    return None


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(help="CSV: task_type, q:MODEL, c:MODEL, optional l:MODEL.")],
    lambda_cost: Annotated[float, typer.Option(help="Weight of cost against quality.")] = 0.0,
    lambda_latency: Annotated[float, typer.Option(help="Weight of latency against quality.")] = 0.0,
    orders: Annotated[int, typer.Option(min=1, help="Random orders of the rows to average over.")] = 10,
    seed: Annotated[int, typer.Option(help="Seed of the orders.")] = 0,
    delay: Annotated[int, typer.Option(min=0, help="Decisions after which an outcome becomes known.")] = 0,
    outage: Annotated[str | None, typer.Option(help="Let this model fail for 600 decisions in the middle.")] = None,
    degrade: Annotated[str | None, typer.Option(help="Multiply this model's quality by 0.4 from half-way on.")] = None,
    add_model: Annotated[str | None, typer.Option(help="Add this model half-way.")] = None,
    json: Json = False,
) -> None:
    """Replay a recorded table through the production router, Thompson sampling and random choice."""
    from kairos.llm.replay.replay import ReplayOptions
    from kairos.llm.replay.replay import replay as play
    from kairos.llm.replay.replay_table import ReplayTable  # other commands do not need the router

    options = ReplayOptions(
        lambda_cost=lambda_cost,
        lambda_latency=lambda_latency,
        orders=orders,
        seed=seed,
        delay=delay,
        outage=outage,
        degrade=degrade,
        add_model=add_model,
    )
    report = play(ReplayTable.read(file), options)
    if json:
        return output.show_json(report.to_dict())
    output.out.print(report.text(), soft_wrap=True)
    return None


@app.command()
def cache(
    context: typer.Context,
    flush: Annotated[bool, typer.Option("--flush", help="Delete all cached answers of the project.")] = False,
    json: Json = False,
) -> None:
    """Show size and savings of the active project's response cache."""
    client = context_of(context).client()
    if flush:
        flushed = client.post("/api/cache/flush")
        return output.show_json(flushed) if json else output.out.print(f"{flushed['entries']} answers deleted")
    figures = client.get("/api/cache")
    if json:
        return output.show_json(figures)
    requests = figures["hits"] + figures["misses"]
    share = f"{figures['hits'] / requests:.0%}" if requests else "–"
    output.out.print(
        f"{figures['entries']} answers, {figures['bytes'] / 1024:.0f} KiB; {share} of {requests} requests hit"
    )
    tokens = figures["saved_input_tokens"] + figures["saved_output_tokens"]
    output.out.print(f"saved: {tokens} tokens, ${figures['saved_usd']:.4f}, {figures['saved_s']:.1f} s")
    return None


@app.command()
def judge(
    context: typer.Context,
    days: Annotated[int, typer.Option(min=1, max=365, help="Number of days.")] = 30,
    json: Json = False,
) -> None:
    """Show number and cost of the judge model's calls in the active project."""
    figures = context_of(context).client().get("/api/judge", days=days)
    if json:
        return output.show_json(figures)
    share = "–" if figures["share"] is None else f"{figures['share']:.0%}"
    output.out.print(f"{figures['judged']} answers judged, {share} of those without another measurement")
    unpriced = f", {figures['unpriced']} of unknown cost" if figures["unpriced"] else ""
    output.out.print(
        f"{figures['calls']} calls ({figures['failures']} failed), ${figures['cost_usd']:.4f}{unpriced}", soft_wrap=True
    )
    return None


def _row(task_type: str, model: dict[str, Any]) -> list[str]:
    interval = "" if model["interval"] is None else f" ± {model['interval']:.2f}"
    return [
        output.plain(task_type),
        output.plain(model["model"]),
        "unmeasured" if model["quality"] is None else f"{model['quality']:.2f}{interval}",
        str(model["measured"]),
        f"{model['share']:.0%}",
        str(model["failures"]),
        output.number(model["first_token_s"], " s"),
        output.number(model["duration_s"], " s"),
        "unknown" if model["cost_usd"] is None else f"${model['cost_usd']:.4f}",
    ]
