"""Build every component of a daemon, one module per area, and connect them."""

from kairos.assembly.composition import Components, assemble
from kairos.assembly.roles import LANES, DaemonRole

__all__ = ["LANES", "Components", "DaemonRole", "assemble"]
