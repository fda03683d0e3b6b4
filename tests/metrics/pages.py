"""Real HTTP to a real port, and what a page of metrics says."""

from __future__ import annotations

import httpx
from prometheus_client.parser import text_string_to_metric_families

from trio_hub import MetricsServer, serve_metrics

from ..hub.peer import House


async def watch(house: House) -> MetricsServer:
    """Serve the metrics of a house for as long as it stands."""
    return await house.enter(serve_metrics(house.hub))


async def get(url: str, path: str, **headers: str) -> httpx.Response:
    """Ask once, over a connection of its own."""
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=20) as client:
        return await client.get(path)


def samples(page: str) -> dict[str, float]:
    """Read a page of metrics: `name{label="value"}` -> the number."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found
