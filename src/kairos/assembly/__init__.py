"""Build every component of a daemon, one module per area, and connect them."""

from kairos.assembly.composition import Components, assemble
from kairos.assembly.lanes import LANES

__all__ = ["LANES", "Components", "assemble"]
