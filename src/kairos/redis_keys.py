"""Every name Kairos uses in Redis, keys and channels, is built here and nowhere else.

Two kinds of keys: those that hold a project's data begin with the project, so that nobody reads across projects by a
slip of a name; those of the queue hold ids alone, begin with the namespace and carry the lane as hash tag, so that all
keys of a lane lie in one slot of a Redis Cluster and one script may touch them.
"""

from __future__ import annotations

from uuid import UUID

from kairos.lanes import Lane
from kairos.tenancy import ProjectId

NAMESPACE = "kairos"  # tests on a shared Redis take another


# The lane's own, then those that a project's id completes; what each holds is said at the head of queue.lua.
QUEUE_PARTS = ("turn", "vt", "last", "cap", "weight", "bell", "due", "projects", "wait:", "run:", "later:", "order:")


def queue_lane(lane: Lane, namespace: str = NAMESPACE) -> str:
    """The stem of all keys of a lane; queue.lua completes it with one of QUEUE_PARTS."""
    return f"{namespace}:queue:{{{lane}}}:"


def queue_bell(lane: Lane, namespace: str = NAMESPACE) -> str:
    """The list that a daemon with nothing to do sleeps on."""
    return queue_lane(lane, namespace) + "bell"


def queue_projects(lane: Lane, namespace: str = NAMESPACE) -> str:
    """The set of projects that have anything waiting, delayed or running in the lane."""
    return queue_lane(lane, namespace) + "projects"


def queue_generation(lane: Lane, namespace: str = NAMESPACE) -> str:
    """The mark of the last full refill; one for each lane, as a Cluster may lose one lane's slot and keep another's."""
    return queue_lane(lane, namespace) + "generation"


def write_probe(namespace: str = NAMESPACE) -> str:
    """Written now and then, to see whether Redis takes data."""
    return f"{namespace}:write-probe"


def cancel_channel(owner: str, namespace: str = NAMESPACE) -> str:
    """Where a daemon hears which of its running tasks to stop; `owner` is as in the task's row."""
    return f"{namespace}:cancel:{owner}"


def learned_channel(namespace: str = NAMESPACE) -> str:
    """Where daemons hear in which project another one learned something; what it was stands in PostgreSQL."""
    return f"{namespace}:learned"


def adapters_channel(namespace: str = NAMESPACE) -> str:
    """Where daemons hear that adapters came into service, or left it: which ones stands in PostgreSQL."""
    return f"{namespace}:adapters"


def config_channel(namespace: str = NAMESPACE) -> str:
    """Where daemons hear that the configuration has a new version; what it holds stands in PostgreSQL."""
    return f"{namespace}:config"


def events_channel(namespace: str = NAMESPACE) -> str:
    """Where daemons hear in which projects events were committed: ids alone, so one channel serves all projects."""
    return f"{namespace}:events"


def deltas_channel(project_id: ProjectId) -> str:
    """Where daemons with listeners of a project hear the running answers of its tasks."""
    return f"{project_id}:deltas"


def project_of_deltas(channel: str) -> ProjectId:
    """The project of such a channel."""
    return ProjectId(UUID(channel.removesuffix(":deltas")))


def project_data(project_id: ProjectId, *parts: str) -> str:
    """A key that holds a project's data: `<project>:cache:<digest>`, for one."""
    return ":".join((str(project_id), *parts))


def of_project(project_id: ProjectId) -> str:
    """The pattern of every key that has a project's id in its name, whoever made it."""
    return f"*{project_id}*"


def response_cache(project_id: ProjectId) -> str:
    """The stem of all keys of a project's cached answers; response_cache.lua completes it. In braces, so that they lie
    in one slot of a Redis Cluster."""
    return f"{{{project_id}}}:cache:"


def response_cache_total(namespace: str = NAMESPACE) -> str:
    """The stem of the sizes of all projects' caches."""
    return f"{namespace}:{{cache}}:"


def breakers(namespace: str = NAMESPACE) -> str:
    """Hash: digest of a model and its credential -> its breaker. Of the system, not of a project."""
    return f"{namespace}:breakers"


def breakers_channel(namespace: str = NAMESPACE) -> str:
    """Where daemons hear that a breaker changed."""
    return f"{namespace}:breakers:changed"


def model_traits(namespace: str = NAMESPACE) -> str:
    """Hash: digest of a model as it is configured -> what was found out by calling it. Of the system, not of a
    project."""
    return f"{namespace}:models:traits"


def server_probe(digest: str, namespace: str = NAMESPACE) -> str:
    """Held for as long as no replica needs to look again whether a models' server can be reached."""
    return f"{namespace}:server:probe:{digest}"


def sign_in_attempts(kind: str, of: str, namespace: str = NAMESPACE) -> str:
    """How often a password was tried for an account (its digest), from an address, a device, a session or a link. In
    braces, so that the counters of one attempt lie in one slot of a Redis Cluster."""
    return f"{namespace}:{{sign-in}}:{kind}:{of}"
