"""`task_type_centroids`: what each project's labelled prompts have in common, by task type, shared by all replicas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from kairos.tenancy import ProjectId


@dataclass(frozen=True, slots=True)
class CentroidRow:
    """The sum of a task type's vectors and how many they are; `vector_sum / examples` is their mean."""

    task_type: str
    examples: float
    vector_sum: Sequence[float]


ADD = text("""
insert into task_type_centroids as kept (project_id, embedding_model, task_type, examples, vector_sum)
values (:project_id, :embedding_model, :task_type, :examples, cast(:vector_sum as real[]))
on conflict (project_id, embedding_model, task_type) do update set
  examples = excluded.examples + kept.examples * least(1, greatest(:most - excluded.examples, 0) / kept.examples),
  vector_sum = (
    select array_agg(new + old * least(1, greatest(:most - excluded.examples, 0) / kept.examples) order by place)
    from unnest(kept.vector_sum, excluded.vector_sum) with ordinality as element (old, new, place)
  ),
  changed_at = now()
""")
"""One statement reads and writes under the row's lock, so that no replica's addition is lost. `least(…)` is the share
of the older examples that stays when there are more than `most`."""

PRUNE = text("""
delete from task_type_centroids where embedding_model = :embedding_model and task_type in (
  select task_type from task_type_centroids where embedding_model = :embedding_model
  order by examples desc, changed_at desc offset :types
)
""")

ALL = text("""
select task_type, examples, vector_sum from task_type_centroids where embedding_model = :embedding_model
""")


async def centroids(session: AsyncSession, embedding_model: str) -> list[CentroidRow]:
    """Those of the project in scope; vectors of another embedding model say nothing and are left out."""
    rows = await session.execute(ALL, {"embedding_model": embedding_model})
    return [CentroidRow(row.task_type, row.examples, row.vector_sum) for row in rows]


async def add(
    session: AsyncSession,
    project_id: ProjectId,
    embedding_model: str,
    additions: Mapping[str, tuple[float, Sequence[float]]],
    *,
    most: float,
    types: int,
) -> None:
    """Add (examples, vector sum) to each task type, and keep the `types` task types that have the most examples."""
    common = {"project_id": project_id, "embedding_model": embedding_model, "most": most}
    for task_type, (examples, total) in sorted(additions.items()):  # in one order everywhere, or replicas deadlock
        await session.execute(ADD, {**common, "task_type": task_type, "examples": examples, "vector_sum": list(total)})
    await session.execute(PRUNE, {"embedding_model": embedding_model, "types": types})
