"""A hub for AI agents on Trio."""
