"""Cells coloured by one property: categories with a legend, numbers with a colour bar."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex

from vmm.errors import InputError
from vmm.plots.colours import UNLABELLED, category_colours
from vmm.plots.scatter import MOST, number_figure, scatter_figure

N = 600
XY = np.random.default_rng(0).normal(size=(N, 2))


def legend_of(figure) -> list[tuple[str, str]]:
    """Return names and numbers of cells in the legend."""
    (legend,) = [axes for axes in figure.axes if axes.get_label() == "legend"]
    texts = [text.get_text() for text in legend.texts]
    return list(zip(texts[::2], texts[1::2], strict=True))


def colours_of(figure) -> list[str]:
    """Return the colour of each cell."""
    found = [""] * N
    for points in figure.axes[0].collections:
        faces = np.broadcast_to(points.get_facecolors(), (len(points.get_offsets()), 4))
        for place, face in zip(points.get_offsets(), faces, strict=True):
            found[int(np.abs(XY - place).sum(1).argmin())] = to_hex(face)
    return found


def test_cells_without_a_value_are_grey_and_counted(fits):
    codes = np.arange(N) % 3 - 1
    figure = scatter_figure(XY, codes, ["a", "b"], "type")
    fits(figure)
    assert legend_of(figure) == [("a", "200"), ("b", "200"), ("no value", "200")]
    colours = [*category_colours(["a", "b"]).values(), UNLABELLED]
    assert colours_of(figure) == [colours[code] for code in codes]


def test_no_cell_has_a_value(fits):
    figure = scatter_figure(XY, np.full(N, -1), [], "type")
    fits(figure)
    assert legend_of(figure) == [("no value", "600")]


@pytest.mark.parametrize("batches", [False, True])
def test_sixty_categories_of_long_names(fits, batches):
    names = [f"a type of cells with quite a long name, the {i}th" for i in range(60)]
    figure = scatter_figure(XY, np.arange(N) % 60, names, "type", batches)
    fits(figure)
    assert len(legend_of(figure)) == 60
    assert figure.get_figwidth() < 12 and figure.get_figheight() < 4


def test_categories_without_a_cell_are_not_listed(fits):
    figure = scatter_figure(XY, np.where(np.arange(N) % 2, 2, -1), ["a", "b", "c"], "cell")
    fits(figure)
    assert legend_of(figure) == [("c", "300"), ("no value", "300")]


def test_of_very_many_categories_the_largest_are_listed(fits):
    """As of a column of barcodes; the others are grey, and counted together."""
    codes = np.r_[np.repeat(7, 50), np.arange(N - 50)]
    names = [f"c{i}" for i in range(N - 50)]
    figure = scatter_figure(XY, codes, names, "cell")
    fits(figure)
    legend = legend_of(figure)
    assert len(legend) == MOST and figure.get_figwidth() < 12
    assert ("c7", "51") in legend
    others = N - 50 - (MOST - 1)
    assert legend[-1] == (f"others ({others})", str(others))
    assert colours_of(figure).count(UNLABELLED) == others


def test_numbers_have_a_bar_and_the_highest_are_on_top(fits):
    values = np.random.default_rng(1).normal(size=N)
    values[:3] = np.nan, np.inf, -np.inf
    figure = number_figure(XY, values, "share")
    fits(figure)
    assert [axes.get_label() for axes in figure.axes] == ["cells", "key"]
    assert figure.get_figwidth() < 5
    grey, coloured = figure.axes[0].collections
    assert len(grey.get_offsets()) == 3
    order = coloured.get_array()
    assert (np.diff(order) >= 0).all() and len(order) == N - 3
    assert coloured.get_clim() == (values[3:].min(), values[3:].max())
    assert "grey: no number (3)" in [text.get_text() for text in figure.axes[0].texts]


@pytest.mark.parametrize("values", [np.full(N, np.nan), np.zeros(N), np.ones(N) * 1e12])
def test_numbers_that_do_not_vary(fits, values):
    fits(number_figure(XY, values, "share"))


def test_a_title_is_no_formula(fits):
    for draw, values in ((number_figure, np.arange(N)), (scatter_figure, np.zeros(N, int))):
        names = [["$x^$"]] if draw is scatter_figure else []
        figure = draw(XY, values, *names, "a $title_ that is far too long for the panel " * 3)
        fits(figure)


def test_lengths_must_agree():
    with pytest.raises(InputError, match="coordinates of 3 cells have the shape"):
        number_figure(XY, np.zeros(3))


def test_cells_without_coordinates_are_counted_and_not_drawn(fits):
    xy, codes = XY.copy(), np.arange(N) % 2
    xy[::3] = np.nan
    figure = scatter_figure(xy, codes, ["a", "b"], "type")
    fits(figure)
    assert legend_of(figure) == [("a", "300"), ("b", "300")]
    assert len(figure.axes[0].collections[0].get_offsets()) == 400
    numbers = number_figure(xy, np.arange(N), "share")
    fits(numbers)
    for drawn in (figure, numbers):
        assert "400 of 600 cells drawn" in [text.get_text() for text in drawn.axes[0].texts]
    with pytest.raises(InputError, match="none of 600 cells has finite coordinates"):
        number_figure(xy * np.nan, np.arange(N))
