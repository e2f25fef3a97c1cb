"""`kairos fine-tune --dry-run`: show the plan of a run, the review of its samples, and the base model's answers."""

from __future__ import annotations

from typing import Any

import typer

from kairos.cli import output

NOT_DONE = 10
OTHERS = "other prompts, each unlike the rest"
EXCERPT = 70

ADVICE = {
    "add_samples": "Correct about {more}: a training needs {need}, and there are {have}.",
    "add_held_out": "Correct about {more}: {have} are held out, and with fewer than {need} the gate leaves the decision"
    " to you.",
    "add_to_kind": "Correct about {more} of the kind {kind}: it has {have} for training, fewer than {need}.",
    "resolve_contradictions": "Resolve {contradictions}: give the same prompt the same answer, or reject a sample.",
    "replace_repeated": "Correct other prompts in place of {repeated}, which teach nothing new.",
    "shorten": "Shorten {samples} to at most {need} tokens: the training leaves longer ones out.",
    "fill_answers": "Correct or reject {samples} with an empty answer.",
    "teach_other": "Correct answers that the base model gets wrong: it already answers {have} of {need} samples.",
}
"""What to do, by the action of an advice."""


def _parts(plan: dict[str, Any]) -> str:
    selection = f"{plan['selection']} to choose among candidates, " if plan["selection"] else ""
    return f"{plan['rows']}: {plan['training']} for training, {selection}{plan['held_out']} held out"


def show_plan(plan: dict[str, Any], check: dict[str, Any] | None, json: bool) -> None:
    """Show the plan, and the answers of the base model if it was asked. Exits with `NOT_DONE` if a run cannot start."""
    if json:
        return output.show_json(plan | {"base_check": check} if check else plan)
    _show_resources(plan)
    _show_review(plan["review"])
    output.out.print(_success(plan), soft_wrap=True)
    if check:
        _show_base_check(check)
    by_type = plan["review"]["kinds_problem"] is not None
    _show_advice([*plan["advice"], *(check["advice"] if check else [])], by_type=by_type)
    for problem in plan["problems"]:
        output.out.print(output.line(("✗", "yellow"), f" {output.plain(problem)}"), soft_wrap=True)
    if plan["problems"]:
        raise typer.Exit(NOT_DONE)
    output.out.print("nothing was started; omit --dry-run to start")


def _show_resources(plan: dict[str, Any]) -> None:
    memory, disk = plan["memory_bytes"], plan["disk_bytes"]
    rows = [
        ["base", output.plain(plan["base"])],
        ["approved samples", _parts(plan)],
        ["control prompts", f"{plan['replayed']} replayed"],
        ["device", output.plain(plan["device"])],
        ["memory", f"about {_mb(memory['needed'])} needed, {_mb(memory['free'])} free"],
        ["disk", f"about {_mb(disk['needed'])} needed, {_mb(disk['free'])} free"],
    ]
    output.out.print(output.table(["", ""], rows))


def _show_review(review: dict[str, Any]) -> None:
    if not review["reviewed"]:
        return
    by_type = review["kinds_problem"] is not None
    rows = [[_kind(kind, by_type=by_type), str(kind["rows"]), str(kind["training"])] for kind in review["kinds"]]
    output.out.print()
    output.out.print(output.table([_kinds_heading(review), "samples#", "for training#?"], rows))
    if review["kinds_problem"]:
        output.out.print(f"by task type only: {output.plain(review['kinds_problem'])}", soft_wrap=True)
    elif review["grouped_prompts"] < review["prompts"]:
        output.out.print(f"found in a random sample of {review['grouped_prompts']} of {review['prompts']} prompts")
    output.out.print()
    output.out.print(output.table(["", ""], _figures(review)))
    for conflict in review["conflicts"]:
        _show_conflict(conflict)


def _kinds_heading(review: dict[str, Any]) -> str:
    total, shown = review["kinds_total"], len(review["kinds"])
    name = _many(total, "kind")
    return name if shown == total else f"{name}, the {shown} largest"


def _figures(review: dict[str, Any]) -> list[list[str]]:
    repeated = f"{review['repeated']}; {review['distinct']} different samples remain" if review["repeated"] else "none"
    rows = [
        ["contradictions", str(review["contradictions"] or "none")],
        ["repeated samples", repeated],
        ["too long", f"{review['too_long'] or 'none'} over {review['max_tokens']} tokens, by an estimate"],
        ["empty answers", str(review["empty_answers"] or "none")],
    ]
    return rows


def _show_conflict(conflict: dict[str, Any]) -> None:
    """Show two samples that contradict each other, with the ids under which they can be corrected."""
    output.out.print(output.line(("≠", "yellow"), f" {output.plain(conflict['prompt'])}"), soft_wrap=True)
    for which in ("first", "second"):
        answer = output.plain(output.one_line(conflict[f"{which}_answer"], EXCERPT))
        output.out.print(f"    {conflict[which]}  {answer}", soft_wrap=True)


def _success(plan: dict[str, Any]) -> str:
    """Return the measured chance that such a run ends in a promotion."""
    rate, fewest = plan["success"], plan["fewest_measured"]
    if rate:
        return (
            f"chance of success: with {rate['rows']} training samples, {rate['promoted']} of {rate['runs']} runs of the"
            f" suite ended in a promotion ({output.plain(rate['title'])}, measured {rate['measured']})"
        )
    if fewest:
        return f"chance of success: not measured with fewer than {fewest} different training samples"
    return "chance of success: no measured success rate yet"


def _show_base_check(check: dict[str, Any]) -> None:
    """Show the number of samples that the base model answers right, and their ids."""
    output.out.print(_base_check(check), soft_wrap=True)
    for sample in check["samples"]:
        if sample["right"]:
            prompt = output.plain(output.one_line(sample["prompt"], EXCERPT))
            output.out.print(f"    {sample['id']}  {prompt}", soft_wrap=True)


def _base_check(check: dict[str, Any]) -> str:
    text = f"the base already answers {check['right']} of {check['asked']} sampled rows"
    if check["asked"] < check["chosen"]:
        left = check["chosen"] - check["asked"] - check["failed"]
        text += f" ({_many(check['failed'], 'call')} failed, {left} not asked within {check['seconds']:.0f} s)"
    return text


def _show_advice(advice: list[dict[str, Any]], *, by_type: bool) -> None:
    if not advice:
        return
    output.out.print()
    output.out.print("before you train:")
    for one in advice:
        output.out.print(output.line(("→", "yellow"), f" {_advice(one, by_type=by_type)}"), soft_wrap=True)
    output.out.print()


def _advice(advice: dict[str, Any], *, by_type: bool) -> str:
    count, kind = advice["count"], advice["kind"]
    return ADVICE[advice["action"]].format(
        have=advice["have"],
        need=advice["need"],
        more=_many(count, "more sample"),
        samples=_many(count, "sample"),
        repeated=_many(count, "repeated sample"),
        contradictions=_many(count, "contradiction"),
        kind=f"“{_kind(kind, by_type=by_type)}”" if kind else "",
    )


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _kind(kind: dict[str, Any], *, by_type: bool) -> str:
    """Return the name of a kind: its task type and its central prompt."""
    name = output.plain(kind["task_type"] or "")
    if by_type:
        return name or "without a task type"
    prompt = output.plain(output.one_line(kind["prompt"], EXCERPT)) if kind["prompt"] else OTHERS
    return f"{name}: {prompt}" if name else prompt


def _mb(size: int) -> str:
    return f"{size / 2**20:,.0f} MB"
