"""Build the names of all Redis keys and channels; no other module does.

Keys with a project's data begin with the project's id, so that a wrong name cannot read another project's data. Keys
of the queue contain only ids; they begin with the namespace and have the lane as hash tag, so that all keys of a lane
are in one slot of a Redis Cluster and one script can use them.
"""

from __future__ import annotations

from uuid import UUID

from kairos.lanes import Lane
from kairos.tenancy import ProjectId

NAMESPACE = "kairos"  # tests on a shared Redis use another


def queue_lane(lane: Lane, namespace: str = NAMESPACE) -> str:
    """The prefix of all keys of a lane; the head of queue.lua lists the suffixes."""
    return f"{namespace}:queue:{{{lane}}}:"


def queue_bell(lane: Lane, namespace: str = NAMESPACE) -> str:
    """The list on which idle daemons block."""
    return queue_lane(lane, namespace) + "bell"


def queue_projects(lane: Lane, namespace: str = NAMESPACE) -> str:
    """The set of projects with waiting, delayed or running tasks in the lane."""
    return queue_lane(lane, namespace) + "projects"


def queue_generation(lane: Lane, namespace: str = NAMESPACE) -> str:
    """The id of the last full refill; one per lane, because a Cluster may lose the slot of a single lane."""
    return queue_lane(lane, namespace) + "generation"


def write_probe(namespace: str = NAMESPACE) -> str:
    """A key that is written to check that Redis accepts writes."""
    return f"{namespace}:write-probe"


def cancel_channel(owner: str, namespace: str = NAMESPACE) -> str:
    """The channel for cancellations of a daemon's running tasks; `owner` is as in the task's row."""
    return f"{namespace}:cancel:{owner}"


def statistics_channel(namespace: str = NAMESPACE) -> str:
    """The channel for updated routing statistics of a project; the statistics are in PostgreSQL."""
    return f"{namespace}:learned"


def adapters_channel(namespace: str = NAMESPACE) -> str:
    """The channel for changed deployments of adapters; the deployments are in PostgreSQL."""
    return f"{namespace}:adapters"


def providers_channel(namespace: str = NAMESPACE) -> str:
    """The channel for changed providers and their models; both are in PostgreSQL."""
    return f"{namespace}:providers"


def config_channel(namespace: str = NAMESPACE) -> str:
    """The channel for new configuration versions; the configuration is in PostgreSQL."""
    return f"{namespace}:config"


def events_channel(namespace: str = NAMESPACE) -> str:
    """The channel for committed events; it carries only project ids, so one channel serves all projects."""
    return f"{namespace}:events"


def deltas_channel(project_id: ProjectId) -> str:
    """The channel for the streamed drafts of a project's tasks."""
    return f"{project_id}:deltas"


def project_of_deltas(channel: str) -> ProjectId:
    """The project of a deltas channel."""
    return ProjectId(UUID(channel.removesuffix(":deltas")))


def project_pattern(project_id: ProjectId) -> str:
    """The pattern of every key with a project's id in its name."""
    return f"*{project_id}*"


def model_pulls(project_id: ProjectId | None, provider_id: UUID, namespace: str = NAMESPACE) -> str:
    """The prefix of the keys with a provider's pulls of models; pulls.lua completes it.

    The braces keep them in one slot of a Redis Cluster. Without a project, the provider is shared.
    """
    return f"{namespace if project_id is None else project_id}:{{pulls:{provider_id}}}:"


def response_cache(project_id: ProjectId) -> str:
    """The prefix of all keys of a project's response cache; response_cache.lua completes it.

    The braces keep them in one slot of a Redis Cluster.
    """
    return f"{{{project_id}}}:cache:"


def response_cache_total(namespace: str = NAMESPACE) -> str:
    """The prefix of the keys with the sizes of all projects' caches."""
    return f"{namespace}:{{cache}}:"


def breakers(namespace: str = NAMESPACE) -> str:
    """Hash: digest of a model and its credential -> its circuit breaker. Not scoped to a project."""
    return f"{namespace}:breakers"


def breakers_channel(namespace: str = NAMESPACE) -> str:
    """The channel for changed circuit breakers."""
    return f"{namespace}:breakers:changed"


def model_traits(namespace: str = NAMESPACE) -> str:
    """Hash: digest of a model's configuration -> traits detected by calling it. Not scoped to a project."""
    return f"{namespace}:models:traits"


def server_probe(digest: str, namespace: str = NAMESPACE) -> str:
    """A key with an expiry; while it exists, no daemon probes the model server again."""
    return f"{namespace}:server:probe:{digest}"


def sign_in_attempts(kind: str, of: str, namespace: str = NAMESPACE) -> str:
    """The counter of password attempts for an account (its digest), an address, a device, a session or a link.

    The braces keep the counters of one attempt in one slot of a Redis Cluster.
    """
    return f"{namespace}:{{sign-in}}:{kind}:{of}"
