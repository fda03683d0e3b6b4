"""
What must be right: pure state machines, without Trio, without I/O, without a clock of their own.

Events and the time go in, actions come out. The shells in `hub` and `client` move bytes.
"""
