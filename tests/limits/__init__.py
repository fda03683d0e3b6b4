"""A case for every limit: what is at it passes, and what is one past it does not."""
