"""Scores of scores: each is a function of its record, of all records, and of the scores so far.

Luecken et al. (2022), *Nature Methods* 19, 41-50, unscaled. An aggregate is ``n/a`` where one of
its parts is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from vmm.benchmark.metrics.records import BATCH, BIO, Metric, parts_of
from vmm.benchmark.metrics.scoring import Score, Undefined

Scores = Mapping[str, Score]


def group_mean(metric: Metric, metrics: Sequence[Metric], scores: Scores) -> float:
    """Return the mean of the metrics below the heading that the aggregate is called like."""
    parts = parts_of(metric.name, metrics)
    missing = {part: scores[part][1] for part in parts if scores[part][0] is None}
    if len(missing) == len(parts) and len(set(missing.values())) == 1:
        raise Undefined(next(iter(missing.values())).removeprefix("n/a: "))
    if missing:
        raise Undefined(f"{metric.name} needs {', '.join(missing)}")
    return float(np.mean([scores[part][0] for part in parts]))


def total(metric: Metric, metrics: Sequence[Metric], scores: Scores) -> float:
    """Return 0.4 batch correction + 0.6 bio conservation."""
    (batch, batch_status), (bio, bio_status) = scores[BATCH], scores[BIO]
    if batch is None or bio is None:
        raise Undefined((batch_status if batch is None else bio_status).removeprefix("n/a: "))
    return 0.4 * batch + 0.6 * bio
