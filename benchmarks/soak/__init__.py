"""
Does a hub stay well among agents that do not? A long run, and nothing may be lost or grow.

Start at `__main__`; `judging` says when a figure has grown.
"""
