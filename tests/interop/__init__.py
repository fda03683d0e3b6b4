"""Conversations between this project and AG2 1.2.1, in both directions and mixed."""
