"""Metrics and health of a hub over HTTP: ``pip install trio_hub[metrics]``."""

from .families import METRICS as METRICS, Metric as Metric
from .http import HttpLimits as HttpLimits
from .server import MetricsServer as MetricsServer, serve_metrics as serve_metrics
