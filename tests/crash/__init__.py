"""Real processes, real kills, real files: what is left after the worst."""
