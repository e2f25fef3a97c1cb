"""Roles of daemons, and the lanes from which each claims tasks."""

from __future__ import annotations

from enum import StrEnum

from kairos.lanes import Lane


class DaemonRole(StrEnum):
    """The work of a daemon: everything, only the API, only tasks, or only trainings."""

    ALL = "all"
    API = "api"
    WORKER = "worker"
    TRAINER = "trainer"


LANES = {
    DaemonRole.ALL: tuple(Lane),
    DaemonRole.API: (),
    DaemonRole.WORKER: (Lane.INTERACTIVE, Lane.BATCH),
    DaemonRole.TRAINER: (Lane.TRAIN,),
}
"""The lanes from which a daemon of each role claims tasks."""
