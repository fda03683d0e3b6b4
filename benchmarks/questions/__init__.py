"""
The questions, one per file.

Each has `ask(generator, **sizes)`, which runs in the generator's process and returns its
figures. Where a figure is named `..._per_second` more is better, where it is named
`..._ms`, `..._us` or `..._seconds` less is.
"""
