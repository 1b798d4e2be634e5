"""Names of metrics, in the order of their records."""

from __future__ import annotations

from vmm.benchmark.metrics.records import AGGREGATE, BIO, of_family

CLUSTERING_METRICS, ELBO_METRICS, INTEGRATION_METRICS = (
    [metric.name for metric in of_family(family)]
    for family in ("clustering", "elbo_surgery", "integration")
)
AGGREGATE_METRICS, BIO_METRICS = (
    [metric.name for metric in of_family("integration") if metric.group == group]
    for group in (AGGREGATE, BIO)
)
NEED_BATCHES = [metric.name for metric in of_family("integration") if metric.needs_batches]
