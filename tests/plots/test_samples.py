"""Figures 2 and 4: the number of images in each column, their order, their pixels, their words."""

import numpy as np
import pytest

from vmm.errors import InputError
from vmm.plots.samples import PAGE_HEIGHT, choose_layout, mosaic, samples_figure
from vmm.plots.style import PAGE_WIDTH, save


def _archive(weights, shape=(8, 8), seed=0):
    rng = np.random.default_rng(seed)
    weights = np.sort(np.asarray(weights, dtype=float))[::-1]
    n, pixels = len(weights), int(np.prod(shape))
    return {
        "cluster": rng.permutation(n),
        "weight": weights,
        "n_samples": np.round(10 * weights / weights.max()).astype(int),
        "samples": rng.uniform(-1, 1, (n, 10, pixels)).astype(np.float32),
        "members": rng.uniform(-1, 1, (n, pixels)).astype(np.float32),
        "image_shape": np.array(shape),
    }


def _images(figure, gid):
    return [image for axes in figure.axes for image in axes.images if image.get_gid() == gid]


def _tiles_per_column(image, shape):
    shown = ~np.ma.getmaskarray(image.get_array())
    per_column = shown[:, :: shape[1]].sum(axis=0)
    return (per_column / shape[0]).tolist()


@pytest.mark.parametrize("shape", [(8, 8), (28, 28), (6, 4)])
def test_columns_hold_as_many_samples_as_their_weight_says(shape, fits):
    archive = _archive([0.4, 0.31, 0.23, 0.07, 0.019, 0.001], shape)
    assert archive["n_samples"].tolist() == [10, 8, 6, 2, 0, 0]
    figure = samples_figure(archive)
    (samples,) = _images(figure, "samples")
    assert _tiles_per_column(samples, shape) == [10, 8, 6, 2, 0, 0]
    (members,) = _images(figure, "members")
    assert _tiles_per_column(members, shape) == [1] * 6
    box = members.get_window_extent()
    assert box.height / (box.width / 6) == pytest.approx(shape[0] / shape[1])
    fits(figure)


def test_members_lie_below_the_samples_and_pixels_are_right():
    archive = _archive([0.5, 0.3, 0.2])
    figure = samples_figure(archive)
    (samples,), (members,) = _images(figure, "samples"), _images(figure, "members")
    assert members.get_extent()[3] < samples.get_extent()[2]
    np.testing.assert_allclose(
        members.get_array()[:, 8:16].filled(), archive["members"][1].reshape(8, 8)
    )
    # The first sample stands at the bottom of its column.
    np.testing.assert_allclose(
        samples.get_array()[-8:, 16:].filled(), archive["samples"][2, 0].reshape(8, 8)
    )


def test_mosaic_is_masked_where_there_is_nothing():
    pictures = np.arange(2 * 3 * 4, dtype=float).reshape(2, 3, 4)
    got = mosaic(pictures, np.array([1, 2]), (2, 2), 2)
    assert got.shape == (4, 4)
    assert got.mask[:2, :2].all() and not got.mask[2:].any()
    assert got[2:, :2].tolist() == [[0, 1], [2, 3]]
    assert got[:2, 2:].tolist() == [[16, 17], [18, 19]]  # the second sample of the second column


def test_weights_are_printed_under_the_columns_in_order():
    figure = samples_figure(_archive([0.55, 0.25, 0.1996, 0.0004]))
    printed = [t for t in figure.axes[0].texts if t.get_gid() == "weight"]
    assert [t.get_text() for t in printed] == ["0.550", "0.250", "0.200", "<0.001"]
    assert [t.xy[0] for t in printed] == [0.5, 1.5, 2.5, 3.5]


@pytest.mark.parametrize("n", [1, 10, 23, 40, 100])
def test_any_number_of_columns_fits_the_page(n, fits):
    rng = np.random.default_rng(n)
    weights = np.ones(n) / n if n == 100 else rng.dirichlet(np.ones(n) * 2)
    figure = samples_figure(_archive(weights), title=f"{n} clusters")
    width, height = figure.get_size_inches()
    assert width <= PAGE_WIDTH + 1e-6 and height <= PAGE_HEIGHT + 0.4
    tiles = [t for image in _images(figure, "members") for t in _tiles_per_column(image, (8, 8))]
    assert len(tiles) == n
    fits(figure)


def test_few_columns_stay_in_one_block_and_a_hundred_are_wrapped():
    assert choose_layout(np.full(24, 10)).columns == 24
    layout = choose_layout(np.full(100, 10))
    assert 25 <= layout.columns <= 50
    assert layout.tile > 0.17
    assert layout.heights == [10] * len(layout.heights)


def test_saved_bytes_are_deterministic(tmp_path):
    archive = _archive([0.6, 0.3, 0.1])
    one = [p.read_bytes() for p in save(samples_figure(archive), tmp_path / "one")]
    two = [p.read_bytes() for p in save(samples_figure(archive), tmp_path / "two")]
    assert one == two and b"/Type3" not in one[0]


def test_errors():
    archive = _archive([0.7, 0.3])
    with pytest.raises(InputError, match="members"):
        samples_figure({k: v for k, v in archive.items() if k != "members"})
    with pytest.raises(InputError, match="disagree"):
        samples_figure({**archive, "image_shape": np.array([8, 9])})
    with pytest.raises(InputError, match="disagree"):
        samples_figure({**archive, "n_samples": np.array([11, 2])})
    empty = {k: v[:0] for k, v in archive.items() if k != "image_shape"}
    with pytest.raises(InputError, match="no cluster"):
        samples_figure({**empty, "image_shape": archive["image_shape"]})
