"""The lanes from which the daemons of each role claim tasks."""

from __future__ import annotations

from kairos.db.models import DaemonRole
from kairos.lanes import Lane

LANES = {
    DaemonRole.ALL: tuple(Lane),
    DaemonRole.API: (),
    DaemonRole.WORKER: (Lane.INTERACTIVE, Lane.BATCH),
    DaemonRole.TRAINER: (Lane.TRAIN,),
}
"""The lanes from which a daemon of each role claims tasks."""
