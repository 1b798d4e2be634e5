"""Figure 1 draws what the rows say."""

import math

import numpy as np
import pytest
from figure_checks import tidy

from vmm.errors import InputError
from vmm.paper.figures.batch_size import batch_size_figure
from vmm.plots.intervals import interval
from vmm.plots.style import save

NMI = "NMI (unmerged)"
CLUSTERS = "Utilized clusters"

STOPS = (("nmi", 0.7), ("elbo", 0.2))


@pytest.fixture
def rows(row):
    rng = np.random.default_rng(0)
    made = []
    for dataset, peak in (("mnist", 256), ("fashion_mnist", 512)):
        for batch in (128, 256, 512, 1024):
            for trial in range(4):
                nmi = 0.8 - 0.05 * abs(math.log2(batch / peak)) + rng.normal(0, 0.004)
                setting = f"b{batch}-nmi"
                made.append(row(dataset, "vmm", setting, trial, NMI, nmi))
                made.append(row(dataset, "vmm", setting, trial, CLUSTERS, batch / 16 + trial))
                made.append(row(dataset, "gmm", setting, trial, NMI, 0.1))
                made.append(row(dataset, "vmm", f"b{batch}-elbo", trial, NMI, 0.2))
    return made


def figure_of(rows):
    return batch_size_figure(tidy(rows))


def _lines(axes):
    return {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}


def _boxes(axes):
    return [patch for patch in axes.patches if patch.get_gid() == "choice"]


def _mean(rows, dataset, batch, metric, prior="VampPriorMixture"):
    return np.mean(
        [
            r["value"]
            for r in rows
            if (r["dataset"], r["setting"], r["metric"], r["prior"])
            == (dataset, f"b{batch}-nmi", metric, prior)
        ]
    )


def test_lines_are_the_means_of_the_vmm_only(rows):
    clusters, nmi = figure_of(rows).axes
    for axes, metric in ((clusters, CLUSTERS), (nmi, NMI)):
        lines = _lines(axes)
        assert set(lines) == {"MNIST", "Fashion-MNIST"}
        for dataset, label in (("mnist", "MNIST"), ("fashion_mnist", "Fashion-MNIST")):
            assert lines[label].get_xdata().tolist() == [128, 256, 512, 1024]
            want = [_mean(rows, dataset, b, metric) for b in (128, 256, 512, 1024)]
            np.testing.assert_allclose(lines[label].get_ydata(), want)


def test_band_is_the_t_interval(rows):
    axes = figure_of(rows).axes[1]
    (band,) = [c for c in axes.collections if c.get_gid() == "band:MNIST"]
    vertices = band.get_paths()[0].vertices
    at_512 = sorted(set(vertices[vertices[:, 0] == 512, 1]))
    values = [
        r["value"]
        for r in rows
        if (r["dataset"], r["setting"], r["metric"]) == ("mnist", "b512-nmi", NMI)
        and r["prior"] == "VampPriorMixture"
    ]
    want = interval(values)
    assert at_512 == pytest.approx([want.low, want.high])


def test_axis_is_log2_with_a_tick_per_size(rows):
    for axes in figure_of(rows).axes:
        assert axes.get_xscale() == "log"
        assert [t.get_text() for t in axes.get_xticklabels()] == ["128", "256", "512", "1024"]


def test_numbers_of_clusters_are_whole(rows):
    panel = figure_of(rows).axes[0]
    panel.set_ylim(0, 3)
    assert all(float(tick).is_integer() for tick in panel.get_yticks())


def test_box_is_at_each_data_sets_peak(rows):
    figure = figure_of(rows)
    assert not _boxes(figure.axes[0])
    boxes = sorted(_boxes(figure.axes[1]), key=lambda b: b.get_x())
    assert len(boxes) == 2
    for patch, batch, dataset in zip(boxes, (256, 512), ("mnist", "fashion_mnist"), strict=True):
        assert patch.get_x() < batch < patch.get_x() + patch.get_width()
        assert patch.get_x() > batch / math.sqrt(2)  # and no neighbour
        mean = _mean(rows, dataset, batch, NMI)
        assert patch.get_y() < mean < patch.get_y() + patch.get_height()


def test_data_sets_that_peak_at_one_size_share_a_box(row):
    sizes = ((256, 0.7), (512, 0.8))
    rows = [
        row(dataset, "vmm", f"b{size}-nmi", 0, NMI, nmi + more)
        for dataset, more in (("mnist", 0), ("fashion_mnist", 0.1))
        for size, nmi in sizes
    ]
    (patch,) = _boxes(figure_of(rows).axes[1])
    assert patch.get_x() < 512 < patch.get_x() + patch.get_width()
    assert patch.get_y() < 0.8 < 0.9 < patch.get_y() + patch.get_height()


def test_one_trial_has_no_band(rows, fits):
    figure = figure_of([r for r in rows if r["trial"] == 0])
    assert not [c for c in figure.axes[1].collections if (c.get_gid() or "").startswith("band")]
    assert len(_lines(figure.axes[1])["MNIST"].get_ydata()) == 4
    fits(figure)


def test_diverged_trials_are_left_out_and_counted(rows, fits):
    for r in rows:
        if r["setting"] == "b1024-nmi" and r["dataset"] == "mnist" and r["trial"] > 1:
            r.update(value=None, status="diverged")
        if r["setting"] == "b128-nmi" and r["dataset"] == "mnist":
            r.update(value=None, status="failed")
    figure = figure_of(rows)
    line = _lines(figure.axes[1])["MNIST"]
    assert line.get_xdata().tolist() == [256, 512, 1024]
    notes = [t.get_text() for t in figure.axes[1].texts if t.get_text().startswith("n=")]
    assert notes == ["n=2"]
    fits(figure)


def test_a_figure_of_diverged_trials_says_so(rows, fits):
    figure = figure_of([r | {"value": None, "status": "diverged"} for r in rows])
    assert [text.get_text() for text in figure.texts] == [
        "No training of the VMM has a value: all diverged."
    ]
    assert figure.axes == []


def test_nothing_usable_is_an_error(rows):
    with pytest.raises(InputError, match="nothing to draw"):
        figure_of([r for r in rows if r["setting"].endswith("elbo")])
    with pytest.raises(InputError, match="nothing to draw"):
        figure_of([])


def test_one_batch_size_and_one_metric(row, fits):
    figure = figure_of([row("digits", "vmm", "b128-nmi", 0, NMI, 0.7)])
    assert figure.axes[1].get_lines()[0].get_ydata().tolist() == [0.7]
    fits(figure)


def test_trainings_stopped_on_the_elbo_are_left_out(row):
    rows = [row("digits", "vmm", f"b128-{stop}", 0, NMI, value) for stop, value in STOPS]
    assert figure_of(rows).axes[1].get_lines()[0].get_ydata().tolist() == [0.7]


def test_saved_files_are_the_same_twice(rows, tmp_path, fits):
    fits(figure_of(rows))
    one = [p.read_bytes() for p in save(figure_of(rows), tmp_path / "one")]
    two = [p.read_bytes() for p in save(figure_of(rows), tmp_path / "two")]
    assert one == two
    assert b"/Type3" not in one[0]
