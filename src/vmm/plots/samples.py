"""Figures 2 and 4: prior-predictive samples of every utilised cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from vmm.errors import InputError
from vmm.plots.style import MUTED, PAGE_WIDTH, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAGE_HEIGHT = 8.8
MAX_TILE, READABLE_TILE = 0.44, 0.24
"""Largest width of one image, and the width from which on columns are not wrapped, in inches."""
LABEL = 0.24
"""Height of the printed probabilities, in inches."""
SIDE = 0.62
"""Width of the words beside the rows, in inches."""
GAP = 0.10
"""Between blocks of columns, in inches."""
MEMBER_GAP = 0.35
"""Between the members and the samples above them, in tiles."""

KEYS = ("cluster", "weight", "n_samples", "samples", "members", "image_shape")


class Layout(NamedTuple):
    """Blocks of columns below one another."""

    columns: int
    """Columns in a block; the last block may have fewer."""
    tile: float
    """Width of an image in inches."""
    heights: list[int]
    """Samples in the highest column of each block."""


@styled
def samples_figure(archive: Mapping[str, np.ndarray], title: str | None = None) -> Figure:
    """Draw Figure 2 or 4 of the paper from a job's ``samples.npz``.

    A column per utilised cluster, sorted by π_j; at the bottom the cluster's most probable
    member, π_j under it, and above it round(10·π_j / max π) samples decoded from the
    component. Columns too many to be readable side by side are wrapped into blocks, read from
    left to right and from the top.

    Parameters
    ----------
    archive
        ``cluster`` (J,), ``weight`` (J,) descending, ``n_samples`` (J,), ``samples`` (J, ≥max, D)
        and ``members`` (J, D) in [−1, 1], ``image_shape`` (2,), with D its product.
    title
        Printed above; None for no title.

    Returns
    -------
    matplotlib.figure.Figure
        One axes a block, whose image is the block's mosaic (see :func:`mosaic`).

    Raises
    ------
    InputError
        If an array is missing or the shapes disagree.
    """
    arrays = _check(archive)
    counts = arrays["n_samples"].astype(int)
    ratio = float(arrays["image_shape"][0] / arrays["image_shape"][1])
    layout = choose_layout(counts, ratio)
    head = 0.28 if title else 0.06
    n_columns = min(layout.columns, len(counts))
    width = max(SIDE + n_columns * layout.tile + 0.08, 2.4)
    block_heights = [(h + 1 + MEMBER_GAP) * layout.tile * ratio + LABEL for h in layout.heights]
    height = head + sum(block_heights) + GAP * (len(block_heights) - 1) + 0.04
    figure = new_figure(width, height)
    if title:
        figure.text(SIDE / width, 1 - 0.06 / height, title, va="top", fontweight="bold")
    top = height - head
    for i, block_height in enumerate(block_heights):
        part = slice(i * layout.columns, (i + 1) * layout.columns)
        n_here = len(counts[part])
        tiles = block_height - LABEL
        across, bottom = n_here * layout.tile, top - tiles
        axes = figure.add_axes((SIDE / width, bottom / height, across / width, tiles / height))
        _draw_block(axes, {k: arrays[k][part] for k in KEYS[:-1]}, arrays["image_shape"], layout)
        top -= block_height + GAP
    return figure


def _check(archive: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    missing = [key for key in KEYS if key not in archive]
    if missing:
        raise InputError(f"the archive of samples lacks the arrays {missing}; it needs {KEYS}")
    arrays = {key: np.asarray(archive[key]) for key in KEYS}
    n, pixels = len(arrays["weight"]), int(np.prod(arrays["image_shape"]))
    if n == 0:
        raise InputError("the archive of samples holds no cluster; it needs at least one")
    shapes = {k: arrays[k].shape for k in KEYS}
    wrong = [k for k in KEYS[:-1] if shapes[k][:1] != (n,)]
    wrong += [k for k in ("samples", "members") if shapes[k][-1:] != (pixels,)]
    if wrong or arrays["n_samples"].max() > shapes["samples"][1]:
        raise InputError(
            f"the arrays of samples disagree: {shapes}; for {n} clusters and images of "
            f"{pixels} pixels `samples` is ({n}, ≥ max n_samples, {pixels})"
        )
    return arrays


def choose_layout(n_samples: np.ndarray, ratio: float = 1.0) -> Layout:
    """Choose how many columns a block has: the fewest blocks with readable tiles.

    Where no number of blocks makes the tiles readable, the one with the largest tiles. `n_samples`
    (J,) are those above the member of each column, descending; `ratio` is the height of an image
    divided by its width.
    """
    best = None
    for n_blocks in range(1, len(n_samples) + 1):
        columns = -(-len(n_samples) // n_blocks)
        heights = [int(n_samples[i : i + columns].max()) for i in range(0, len(n_samples), columns)]
        if len(heights) != n_blocks:
            continue
        rows = sum(h + 1 + MEMBER_GAP for h in heights)
        free = PAGE_HEIGHT - n_blocks * (LABEL + GAP) - 0.4
        tile = min(MAX_TILE, (PAGE_WIDTH - SIDE - 0.08) / columns, free / (rows * ratio))
        if best is None or tile > best.tile:
            best = Layout(columns, tile, heights)
        if best.tile >= READABLE_TILE:
            break
    assert best is not None
    return best


def mosaic(
    samples: np.ndarray, n_samples: np.ndarray, image_shape: tuple[int, int], n_rows: int
) -> np.ma.MaskedArray:
    """Stack the samples of each column from the bottom up; what is empty is masked.

    Of `n_samples` (J,) samples (J, ≥max, D), images of height · width = D pixels, and rows of
    tiles, no fewer than samples: (n_rows · height, J · width), row 0 at the top.
    """
    height, width = (int(side) for side in image_shape)
    size = (n_rows * height, len(samples) * width)
    canvas = np.ma.masked_array(np.full(size, -1.0), mask=np.ones(size, dtype=bool))
    for j, (images, n) in enumerate(zip(samples, n_samples, strict=True)):
        for k in range(int(n)):
            row = (n_rows - 1 - k) * height
            tile = images[k].reshape(height, width)
            canvas[row : row + height, j * width : (j + 1) * width] = tile
    return canvas


def _draw_block(axes: Axes, block: dict[str, np.ndarray], image_shape, layout: Layout) -> None:
    """Draw one block in units of tiles: the members in [0, 1], the samples above the gap."""
    n, rows = len(block["weight"]), int(block["n_samples"].max())
    shape = (int(image_shape[0]), int(image_shape[1]))
    floor = 1 + MEMBER_GAP
    style: dict[str, Any] = {"cmap": "gray", "vmin": -1, "vmax": 1, "aspect": "auto"}
    style["interpolation"] = "nearest"
    members = mosaic(block["members"][:, None], np.ones(n), shape, 1)
    axes.imshow(members, extent=(0, n, 0, 1), gid="members", **style)
    if rows:
        samples = mosaic(block["samples"], block["n_samples"], shape, rows)
        axes.imshow(samples, extent=(0, n, floor, floor + rows), gid="samples", **style)
    axes.set(xlim=(0, n), ylim=(0, floor + rows))
    axes.set_axis_off()
    _separate(axes, block["n_samples"].astype(int), floor, 3 * layout.tile)
    _print_weights(axes, block["weight"], layout.tile)
    words = {0.5: "most\nprobable\nmember", floor + min(rows, 1) * 0.5: "samples" if rows else ""}
    for y, text in words.items():
        axes.annotate(
            text,
            (0, y),
            (-5, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=5.5,
            color=MUTED,
            linespacing=1.0,
        )


def _separate(axes: Axes, counts: np.ndarray, floor: float, width: float) -> None:
    """Draw white lines between tiles, so that images do not run into one another."""
    top = floor + counts.max()
    axes.vlines(range(1, len(counts)), 0, top, color="white", linewidth=width)
    heights = [floor + k for k in range(1, int(counts.max()))]
    axes.hlines(heights, 0, len(counts), color="white", linewidth=width)


def _print_weights(axes: Axes, weights: np.ndarray, tile: float) -> None:
    """Print π_j under each column: horizontally where it fits, else upright."""
    upright = tile < 0.28
    size = 4.8 if upright else min(5.8, 4.4 + 4 * (tile - 0.28))
    for j, weight in enumerate(weights):
        text = f"{weight:.3f}" if weight >= 0.0005 else "<0.001"
        axes.annotate(
            text.replace("0.", ".", 1) if upright else text,
            (j + 0.5, 0),
            (0, -2),
            textcoords="offset points",
            ha="center",
            va="top",
            rotation=90 if upright else 0,
            fontsize=size,
            gid="weight",
        )
    axes.annotate(
        r"$\pi_j$", (0, 0), (-5, -2), textcoords="offset points", ha="right", va="top", fontsize=6
    )
