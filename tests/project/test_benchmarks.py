"""The harness of `make bench`: who is measured when, what the numbers say, what the page shows."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import torch

import benchmarks.report as report
from benchmarks import scale
from benchmarks.__main__ import benchmarks
from benchmarks.data import SIZES, cells
from benchmarks.density import arguments, our_log_prob, torch_log_prob
from benchmarks.harness import ROOT, Benchmark, Comparison, compare, measure
from benchmarks.scale_report import atlas_table, scale_table

CONTENDER = """
import os, time

def counting(lap, label=None):
    n = 0
    while True:
        lap(None if label is None else n)
        n += 1
        with open(os.environ["VMM_TEST_LOG"], "a") as log:
            log.write(f"{label or 'plain'}\\n")

def a(lap):
    counting(lap, "a")

def b(lap):
    print("noise on standard output")
    counting(lap)

def fails(lap):
    lap()
    raise ValueError("no")
"""


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """Return a function that makes a benchmark of toy contenders, and the log they write."""
    (tmp_path / "toy_contenders.py").write_text(CONTENDER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("VMM_TEST_LOG", str(tmp_path / "log"))

    def make(*names: str, **options) -> Benchmark:
        contenders = {name: f"toy_contenders:{name}" for name in names}
        return Benchmark("toy", "nothing", contenders, **options)

    return make, tmp_path / "log"


def test_contenders_take_turns_after_one_warm_up(toy):
    make, log = toy
    comparisons = (Comparison("a", 10.0), Comparison("b", 1e9, "a"))
    result = measure(make("a", "b", repeats=3, comparisons=comparisons))
    # Four rounds, of which the first is left out.
    assert log.read_text().split() == ["a", "plain"] * 4
    assert result["contenders"]["a"]["values"] == [2, 3, 4]
    assert all(0 < seconds < 60 for seconds in result["contenders"]["b"]["values"])
    bound = result["comparisons"][0]
    assert (bound["median"], bound["low"], bound["high"]) == (3, 2.5, 3.5)
    assert bound["met"]


def test_whole_processes_are_measured_up_to_their_first_lap(toy):
    make, log = toy
    result = measure(make("b", repeats=2, processes=True))
    assert not log.exists()
    seconds, cpu = result["contenders"]["b"]["values"], result["contenders"]["b"]["cpu"]
    assert len(seconds) == 2 and min(seconds) > 0.01 and cpu > 0


def test_a_contender_that_fails_ends_the_benchmark(toy):
    make, _ = toy
    with pytest.raises(RuntimeError, match="toy_contenders:fails ended with status 1"):
        measure(make("a", "fails"))


def test_ratio_is_the_median_of_the_ratios_of_neighbours():
    """The ratio of the medians would be 2 / 4."""
    ours = [{"seconds": s, "cpu": 1.0} for s in (1.0, 2.0, 30.0)]
    theirs = [{"seconds": s, "cpu": 2.0} for s in (4.0, 2.0, 40.0)]
    result = compare(Comparison("ours", 0.7, "theirs"), {"ours": ours, "theirs": theirs})
    assert result["median"] == 0.75 and (result["low"], result["high"]) == (0.5, 0.875)
    assert result["cpu"] == 0.5
    assert result["met"] is False


def toy_result() -> dict:
    rows = {"ours": [{"seconds": 1.0, "cpu": 1.0}], "theirs": [{"seconds": 4.0, "cpu": 4.0}]}
    compared = [compare(Comparison("ours", t, "theirs"), rows) for t in (0.5, 0.2)]
    return {"name": "toy", "work": "nothing", "unit": "s", "comparisons": compared}


def test_table_says_what_was_met():
    lines = report.targets([toy_result()]).splitlines()
    assert lines[2] == "| nothing | ours | theirs | 0.25 (0.25 – 0.25) | 0.25 | ≤ 0.5 | yes |"
    assert lines[3].endswith("| ≤ 0.2 | **no** |")


def test_table_of_stages_has_their_growth():
    """Without the smallest size; a stage that is not measured at a size has a dash."""

    def result(n: int, **cpu: float) -> dict:
        stages = {stage: {"cpu": seconds, "median": n / 1e5} for stage, seconds in cpu.items()}
        return {"name": f"atlas_{n}", "contenders": stages}

    head, rows = atlas_table(
        [result(20_000, a=9, b=1), result(100_000, a=10, b=2), result(1_000_000, a=100)]
    )
    assert head == ["stage", "20 000", "100 000", "1 000 000", "growth"]
    assert rows[0] == ["a", "9 s, 0.2 GB", "10 s, 1.0 GB", "100 s, 10.0 GB", "1.00"]
    assert rows[1] == ["b", "1 s, 0.2 GB", "2 s, 1.0 GB", "—", "—"]


def test_only_what_is_between_the_markers_changes():
    text = "before\n<!-- targets -->\nold\n<!-- /targets -->\nafter\n"
    once = report.fill(text, "targets", r"new \1")
    assert once == "before\n<!-- targets -->\nnew \\1\n<!-- /targets -->\nafter\n"
    assert report.fill(once, "targets", r"new \1") == once
    with pytest.raises(ValueError, match="occurs 0 times"):
        report.fill(text, "contenders", "new")


@pytest.mark.parametrize("value, shown", [(0.01234, "0.0123"), (12.34, "12.3"), (123456, "123456")])
def test_numbers(value, shown):
    assert report.number(value) == shown


def test_every_contender_and_every_label_exists():
    assert len(benchmarks()) > 2
    for name, benchmark in benchmarks().items():
        assert name == benchmark.name
        for target in benchmark.contenders.values():
            module, function = target.split(":")
            assert callable(getattr(importlib.import_module(module), function))
        for comparison in benchmark.comparisons:
            assert {comparison.ours, comparison.theirs or comparison.ours} <= set(
                benchmark.contenders
            )


def test_page_has_the_markers_and_names_every_benchmark():
    text = (ROOT / "docs" / "benchmarks.md").read_text()
    for marker in ("targets", "contenders", "machine", "scale"):
        report.fill(text, marker, "")
    assert all(f"`{name}`" in text for name in benchmarks())


def test_synthetic_counts_have_the_share_of_non_zeros():
    counts, batch = cells(**SIZES["cortex"])
    assert counts.shape == (3005, 558) and set(batch) == {0}
    assert counts.nnz / 3005 / 558 == pytest.approx(0.18, abs=0.02)


def test_both_mixture_densities_are_the_same():
    """What is compared does the same: values, and gradients by all four arguments."""
    leaves = arguments()
    densities = [function(*leaves) for function in (our_log_prob, torch_log_prob)]
    torch.testing.assert_close(*densities, rtol=1e-4, atol=1e-3)
    gradients = [torch.autograd.grad(density.sum(), leaves) for density in densities]
    ours, theirs = gradients
    theirs[2].tril_()  # the upper triangle of a Cholesky factor means nothing
    ours[2].tril_()
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=2e-3, atol=1e-2)


def test_cells_of_the_scale_are_written_block_by_block(tmp_path, monkeypatch):
    """As many as asked for, the same block over and over, in need of 16 bits."""
    from anndata import read_h5ad

    from vmm.models.tensors import CellTensors

    monkeypatch.setattr(scale, "FOLDER", tmp_path)
    monkeypatch.setattr(scale, "BLOCK", 200)
    adata = read_h5ad(scale.h5ad(500))
    assert adata.shape == (500, scale.N_GENES)
    assert (adata.X[:100] != adata.X[400:]).nnz == 0
    assert adata.X.nnz / 500 / scale.N_GENES == pytest.approx(scale.NON_ZERO, abs=0.01)
    assert CellTensors(adata.X, np.zeros(500), 1).counts.dtype == torch.int16
    assert adata.obs["batch"].nunique() == scale.N_BATCHES
    assert adata.obs_names.is_unique


def test_start_ends_with_the_first_step(tmp_path, monkeypatch):
    """And the files that a job starts from are prepared as the pipeline does."""
    import vmm.benchmark.jobs
    import vmm.training

    class FirstLapError(Exception):
        pass

    def lap():
        raise FirstLapError

    for name, value in {"FOLDER": tmp_path, "BLOCK": 40, "N_GENES": 300}.items():
        monkeypatch.setattr(scale, name, value)
    scale.main(200)
    files = scale.prepared(200)
    monkeypatch.setattr(scale, "prepared", lambda n_cells: files)
    take_step = vmm.training.loop.take_step
    monkeypatch.setattr(vmm.training.loop, "take_step", take_step)  # restored afterwards
    assert len(vmm.benchmark.jobs.load(files[0])) == 200
    with pytest.raises(FirstLapError):
        scale.first_step(lap)


def test_scale_is_told_per_cell():
    row = {"median": 2.0, "cpu": 1.0, "peak_mb": 2048}
    contenders = {label: row for label in scale.LABELS.values()}
    _, rows = scale_table({"contenders": contenders})
    assert rows[0] == ["5 000", "2 s", "1 s", "200 µs", "2.00 GB"]
    assert rows[-1] == ["500 000", "2 s", "1 s", "2 µs", "2.00 GB"]
