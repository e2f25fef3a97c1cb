"""`kairos router`: explain, leaderboard, replay."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from kairos.cli import output
from kairos.cli.context import Json, of

app = typer.Typer(help="Why which model, and how well the choice would have done.", no_args_is_help=True)


@app.command()
def explain(
    context: typer.Context, task_id: Annotated[str, typer.Argument(help="Id of a task.")], json: Json = False
) -> None:
    """Show every routing decision of a task, with every term of every candidate's score."""
    decisions = of(context).client().get(f"/api/tasks/{task_id}")["decisions"]
    if json:
        return output.show_json(decisions)
    if not decisions:
        return output.out.print("no model was asked for this task yet")
    for decision in decisions:
        output.out.print(output.decision_table(decision))
    return None


@app.command()
def leaderboard(
    context: typer.Context,
    days: Annotated[int, typer.Option(min=1, max=365, help="Calls of how many days count.")] = 30,
    json: Json = False,
) -> None:
    """Show how the models did at each kind of work in the active project."""
    board = of(context).client().get("/api/leaderboard", days=days)
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
    lambda_latency: Annotated[float, typer.Option(help="Weight of waiting time against quality.")] = 0.0,
    orders: Annotated[int, typer.Option(min=1, help="Random orders of the rows to average over.")] = 10,
    seed: Annotated[int, typer.Option(help="Of the orders.")] = 0,
    delay: Annotated[int, typer.Option(min=0, help="Decisions after which an outcome is shown.")] = 0,
    outage: Annotated[str | None, typer.Option(help="This model's calls fail for 600 decisions in the middle.")] = None,
    degrade: Annotated[str | None, typer.Option(help="This model's quality falls to .4 of itself half-way.")] = None,
    add_model: Annotated[str | None, typer.Option(help="This model joins half-way.")] = None,
    json: Json = False,
) -> None:
    """Replay a recorded table through the router that serves, beside Thompson sampling and chance."""
    from kairos.llm.replay.replay import ReplayOptions
    from kairos.llm.replay.replay import replay as play
    from kairos.llm.replay.replay_table import ReplayTable  # the router's rooms are imported by no other command

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
    flush: Annotated[bool, typer.Option("--flush", help="Forget every answer of the project.")] = False,
    json: Json = False,
) -> None:
    """Show what the active project's response cache holds and saved."""
    client = of(context).client()
    if flush:
        flushed = client.post("/api/cache/flush")
        return output.show_json(flushed) if json else output.out.print(f"{flushed['entries']} answers forgotten")
    figures = client.get("/api/cache")
    if json:
        return output.show_json(figures)
    asked = figures["hits"] + figures["misses"]
    share = f"{figures['hits'] / asked:.0%}" if asked else "–"
    output.out.print(
        f"{figures['entries']} answers, {figures['bytes'] / 1024:.0f} KiB; {share} of {asked} requests hit"
    )
    tokens = figures["saved_input_tokens"] + figures["saved_output_tokens"]
    output.out.print(f"saved: {tokens} tokens, ${figures['saved_usd']:.4f}, {figures['saved_s']:.1f} s")
    return None


@app.command()
def judge(
    context: typer.Context,
    days: Annotated[int, typer.Option(min=1, max=365, help="Calls of how many days count.")] = 30,
    json: Json = False,
) -> None:
    """Show how much the judge model measured in the active project, and what it cost."""
    figures = of(context).client().get("/api/judge", days=days)
    if json:
        return output.show_json(figures)
    share = "–" if figures["share"] is None else f"{figures['share']:.0%}"
    output.out.print(f"{figures['judged']} answers judged, {share} of those that nothing else measured")
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
