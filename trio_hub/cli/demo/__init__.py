"""
``demo``: the main job on one screen.

A hub and two agents, each a process of its own; two of the three are killed at the worst moment,
and every answer arrives exactly once. `story` is what happens, `cast` is who acts in it.
"""

from .command import DEMO as DEMO
