"""
Benchmarks that can be argued with: one file per question, and the same load for every hub.

`python -m benchmarks.run` starts AG2's hub and ours as processes of their own, asks each the
same questions over real WebSockets in one run, and prints ratios. Absolute figures swing
twofold on a shared machine; the ratios of one run are the result.
"""
