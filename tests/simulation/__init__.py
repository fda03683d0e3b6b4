"""Whole-hub runs with seeded faults."""
