"""Shows the hub's counters to prometheus-client, when it asks."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric as Family,
)
from prometheus_client.registry import Collector

from .._histogram import Histogram
from ..hub import Hub
from ..hub.backlog import Backlog
from .families import METRICS, Metric, Reading

__all__ = ["HubCollector"]


class HubCollector(Collector):
    """
    Registers in any `CollectorRegistry`; `collect` must run in the hub's own thread.

    What is owed takes a look at every agent, so it is not part of `collect`: await `survey`
    before, or it is shown as it was then.

    Args:
        hub: An open hub.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._backlog: Mapping[str, Backlog] = {}

    async def survey(self) -> None:
        """Look up what is owed; see `Hub.survey_backlog`."""
        self._backlog = await self._hub.survey_backlog()

    def describe(self) -> Iterator[Family]:
        """Name the families, without asking the hub."""
        for metric in METRICS:
            yield _family(metric)

    def collect(self) -> Iterator[Family]:
        """Return every family with its samples."""
        reading = Reading(figures=self._hub.figures(), backlog=self._backlog, now=time.time())
        for metric in METRICS:
            family = _family(metric)
            for labels, value in metric.read(reading):
                if isinstance(value, Histogram):
                    assert isinstance(family, HistogramMetricFamily)
                    buckets = [(_bound(bound), count) for bound, count in value.cumulative()]
                    family.add_metric(labels, buckets, value.total)
                else:
                    assert isinstance(family, CounterMetricFamily | GaugeMetricFamily)
                    family.add_metric(labels, value)
            yield family


def _bound(bound: float) -> str:
    return "+Inf" if bound == float("inf") else repr(bound)


def _family(metric: Metric) -> Family:
    if metric.kind == "histogram":
        return HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    family = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    return family(metric.name, metric.help, labels=metric.labels)
