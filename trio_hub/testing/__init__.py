"""
Kits for testing what you build on trio_hub.

To make things go wrong: `FaultyStore` and `FaultyLink` do one certain thing when they are told,
`SimulatedDisk` and `SimulatedNetwork` do what a seed decides. To see what came of it: a
`Recorder` writes a `Trace`, and the `checkers` ask it whether a promise was broken.

What needs Hypothesis is imported by its full name (``pip install trio_hub[testing]``):
`trio_hub.testing.strategies` makes records, `trio_hub.testing.machines` are state machines for
stores, adapters and agents. They run on a `FrozenLoop`, a Trio loop that stands still between
rules. The contract suite for stores, `trio_hub.testing.store_contract`, needs pytest.
"""

from .checkers import assert_holds as assert_holds, violations as violations
from .faulty_link import FaultyLink as FaultyLink
from .faulty_store import FaultyStore as FaultyStore
from .frozen_loop import FrozenLoop as FrozenLoop, Held as Held, LoopCrashed as LoopCrashed
from .simulated_disk import SimulatedDisk as SimulatedDisk
from .simulated_network import SimulatedNetwork as SimulatedNetwork
from .trace import Recorder as Recorder, Trace as Trace
