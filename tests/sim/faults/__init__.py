"""Faults to be planted in the core, one at a time; each must be caught by the simulator.

At least two for each invariant, and one for each command that the core emits. The texts
are the core's own: when a line changes, its fault must be written anew, and says so.
"""

from tests.sim.faults import commands, invariants
from tests.sim.faults.fault import Fault

FAULTS = (*invariants.FAULTS, *commands.FAULTS)

__all__ = ["FAULTS", "Fault"]
