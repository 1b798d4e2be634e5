"""A Slurm for these tests; skipped where none can be started."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cluster import FOLDER, Cluster, obstacle


@pytest.fixture(scope="session")
def cluster(tmp_path_factory) -> Iterator[Cluster]:
    """Return a running cluster, stopped after the tests."""
    if reason := obstacle():
        pytest.skip(reason)
    cluster = Cluster(tmp_path_factory.mktemp(FOLDER))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
