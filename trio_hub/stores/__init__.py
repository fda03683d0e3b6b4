"""Where a hub keeps its state. The only place that touches files."""
