"""`task_type_centroids`: centroids of each project's labelled prompts by task type, shared by all replicas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from kairos.tenancy import ProjectId


@dataclass(frozen=True, slots=True)
class CentroidRow:
    """Sum and number of a task type's vectors; `vector_sum / examples` is the centroid."""

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
"""One statement, so that reads and writes happen under the row's lock and no addition is lost. `least(…)` is the share
of the old examples that is kept if there are more than `most`."""

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
    """Centroids of the project in scope. Vectors of other embedding models are not comparable and are omitted."""
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
    """Add (examples, vector sum) to each task type, and keep the `types` task types with the most examples."""
    common = {"project_id": project_id, "embedding_model": embedding_model, "most": most}
    for task_type, (examples, total) in sorted(additions.items()):  # always in the same order, to avoid deadlocks
        await session.execute(ADD, {**common, "task_type": task_type, "examples": examples, "vector_sum": list(total)})
    await session.execute(PRUNE, {"embedding_model": embedding_model, "types": types})
