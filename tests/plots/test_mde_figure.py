"""Figures 3, 6, 7, 8: colours, clusters' names, legends, points."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from vmm.errors import InputError
from vmm.plots import style
from vmm.plots.clusters import describe_clusters, letters, type_marks
from vmm.plots.colours import (
    SINGLE,
    TYPE_PALETTE,
    UNLABELLED,
    batch_colours,
    category_colours,
    tint,
)
from vmm.plots.mde_figure import mde_figure
from vmm.plots.style import save

ROWS = ("N(0, I)", "GMM", "VMM")


def _case(n=400, n_types=4, n_batches=3, n_clusters=6, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(n_types), rng.integers(0, n_types, n - n_types)])
    batch = np.concatenate([np.arange(n_batches), rng.integers(0, n_batches, n - n_batches)])
    centres = rng.normal(0, 3, (n_types, 2))
    coordinates = {row: centres[labels] + rng.normal(0, 0.3, (n, 2)) for row in ROWS}
    # Clusters are parts of types: cluster c belongs to type c % n_types.
    assigned = labels + n_types * rng.integers(0, -(-n_clusters // n_types), n)
    assigned = np.where(assigned < n_clusters, assigned, labels)
    return {
        "coordinates": coordinates,
        "batch": batch,
        "batch_names": [f"donor {i}" for i in range(n_batches)],
        "labels": labels,
        "label_names": [f"type {i}" for i in range(n_types)],
        "clusters": {"N(0, I)": None, "GMM": labels * 7, "VMM": assigned},
    }


def _axes(figure):
    return {axes.get_label(): axes for axes in figure.axes}


def _points(axes):
    """Colour of each drawn point by its coordinates."""
    (scatter,) = axes.collections
    return {
        tuple(np.round(xy, 9)): to_hex(c)
        for xy, c in zip(scatter.get_offsets(), scatter.get_facecolors(), strict=True)
    }


def _colour_of(axes, xy):
    points = _points(axes)
    return [points[tuple(np.round(p, 9))] for p in xy]


def test_panels_rows_and_titles():
    axes = _axes(mde_figure(**_case()))
    assert set(axes) == {f"{r}/{c}" for r in ROWS for c in ("Batch", "Cell type", "Cluster")} | {
        "legend"
    }
    assert [axes[f"N(0, I)/{c}"].get_title() for c in ("Batch", "Cell type", "Cluster")] == [
        "Batch",
        "Cell type",
        "Cluster",
    ]
    assert [axes[f"{r}/Batch"].get_ylabel() for r in ROWS] == list(ROWS)


def test_every_point_has_its_categorys_colour_in_every_row():
    case = _case()
    axes = _axes(mde_figure(**case))
    types = list(category_colours(case["label_names"]).values())
    batches = list(batch_colours(case["batch_names"]).values())
    for row in ROWS:
        xy = case["coordinates"][row]
        assert _colour_of(axes[f"{row}/Cell type"], xy) == [types[i] for i in case["labels"]]
        assert _colour_of(axes[f"{row}/Batch"], xy) == [batches[i] for i in case["batch"]]


def test_clusters_take_their_types_colour():
    case = _case(n_types=4, n_clusters=6)
    axes = _axes(mde_figure(**case))
    types = list(category_colours(case["label_names"]).values())
    # The GMM's clusters are the types themselves: both panels agree point by point.
    xy = case["coordinates"]["GMM"]
    assert _colour_of(axes["GMM/Cluster"], xy) == [types[i] for i in case["labels"]]
    # The VMM splits types 0 and 1: the smaller part has the first tint.
    got = _colour_of(axes["VMM/Cluster"], case["coordinates"]["VMM"])
    assigned = case["clusters"]["VMM"]
    for kind in (0, 1):
        sizes = {c: (assigned == c).sum() for c in (kind, kind + 4)}
        smaller = min(sizes, key=lambda c: (sizes[c], -c))
        want = [tint(types[kind], int(c == smaller)) for c in assigned if c % 4 == kind]
        assert [g for g, c in zip(got, assigned, strict=True) if c % 4 == kind] == want


def test_normal_prior_has_a_note_in_place_of_clusters():
    axes = _axes(mde_figure(**_case()))
    panel = axes["N(0, I)/Cluster"]
    assert not panel.collections
    assert any("no clusters" in t.get_text() for t in panel.texts)
    assert any(t.get_gid() == "guide" for t in panel.texts)


def test_the_names_of_clusters_are_explained_once(fits):
    """In the first of the rows without clusters; a long name is broken."""
    case, long = _case(), "scANVI (told the labels)"
    case["coordinates"] = {**case["coordinates"], long: case["coordinates"]["VMM"]}
    figure = mde_figure(**case)
    fits(figure)
    axes = _axes(figure)
    explained = [row for row in case["coordinates"] if _guide(axes[f"{row}/Cluster"])]
    assert explained == ["N(0, I)"]
    (note,) = (t.get_text() for t in axes[f"{long}/Cluster"].texts)
    assert note == "scANVI (told the labels) has no\nclusters."


def _guide(axes):
    return [t.get_text() for t in axes.texts if t.get_gid() == "guide"]


def test_points_are_rasterised_and_shuffled_the_same_everywhere():
    case = _case()
    figure = mde_figure(**case)
    orders = []
    for name, axes in _axes(figure).items():
        for scatter in axes.collections:
            assert scatter.get_rasterized()
            xy = case["coordinates"][name.split("/")[0]]
            lookup = {tuple(np.round(p, 9)): i for i, p in enumerate(xy)}
            orders.append([lookup[tuple(np.round(p, 9))] for p in scatter.get_offsets()])
    assert len(orders) == 8
    assert all(order == orders[0] for order in orders)
    assert orders[0] != sorted(orders[0]) and sorted(orders[0]) == list(range(400))


def test_point_size_falls_with_the_number_of_cells():
    sizes = [
        _axes(mde_figure(**_case(n=n)))["VMM/Batch"].collections[0].get_sizes()[0]
        for n in (300, 3000, 20000)
    ]
    assert sizes[0] > sizes[1] > sizes[2]


def test_atlas_legends_fit(fits):
    case = _case(n=2000, n_types=17, n_batches=16, n_clusters=30)
    case["label_names"][11] = "Neutrophil_CD14_high and a very long name that cannot fit anywhere"
    case["clusters"]["GMM"] = np.arange(2000) % 30
    figure = mde_figure(**case)
    fits(figure)
    legend = _axes(figure)["legend"]
    gids = [p.get_gid() for p in legend.patches]
    assert sum(g.startswith("legend:type:") for g in gids) == 17
    assert sum(g.startswith("legend:batch:") for g in gids) == 16
    assert gids.count("legend:cluster") == 30 + len(np.unique(case["clusters"]["VMM"]))
    _no_overlap(figure, legend)


@pytest.mark.parametrize(("n_types", "n_batches"), [(30, 30), (1, 1), (2, 40)])
def test_other_sizes_fit(n_types, n_batches, fits):
    case = _case(n=500, n_types=n_types, n_batches=n_batches, n_clusters=n_types)
    figure = mde_figure(**case)
    fits(figure)
    _no_overlap(figure, _axes(figure)["legend"])


def _no_overlap(figure, legend):
    """No two texts of the legend, and no text and swatch, lie on one another."""
    renderer = figure.canvas.get_renderer()
    boxes = [t.get_window_extent(renderer) for t in legend.texts if t.get_text()]
    swatches = [p.get_window_extent(renderer) for p in legend.patches]
    for i, a in enumerate(boxes):
        for b in boxes[i + 1 :] + swatches:
            overlap = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
            assert min(overlap) < 1.5, (a, b)  # pixels at 100 dpi


def test_legend_swatches_have_the_panels_colours():
    case = _case()
    legend = _axes(mde_figure(**case))["legend"]
    shown = {p.get_gid(): to_hex(p.get_facecolor()) for p in legend.patches}
    for name, colour in category_colours(case["label_names"]).items():
        assert shown[f"legend:type:{name}"] == colour
    for name, colour in batch_colours(case["batch_names"]).items():
        assert shown[f"legend:batch:{name}"] == colour


def test_numbers_are_written_in_the_panels():
    case = _case(n_types=4, n_clusters=4)
    axes = _axes(mde_figure(**case))
    names = {t.get_text() for t in axes["VMM/Cell type"].texts}
    assert names == {"1", "2", "3", "4"}
    names = {t.get_text() for t in axes["VMM/Cluster"].texts}
    assert names == {"1a", "2a", "3a", "4a", "4 clusters"}


def test_names_in_a_panel_do_not_overlap():
    case = _case(n=1500, n_types=17, n_clusters=34, seed=3)
    figure = mde_figure(**case)
    renderer = figure.canvas.get_renderer()
    for label in ("VMM/Cell type", "VMM/Cluster"):
        texts = [t for t in _axes(figure)[label].texts if (t.get_gid() or "").startswith("name")]
        boxes = [t.get_window_extent(renderer) for t in texts]
        assert len(boxes) > 10
        for i, a in enumerate(boxes):
            for b in boxes[i + 1 :]:
                wide, tall = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
                assert wide < 2 or tall < 4  # the box of a text is taller than its digits


def test_one_batch_is_grey(fits):
    case = _case(n_batches=1)
    figure = mde_figure(**case)
    assert set(_points(_axes(figure)["GMM/Batch"]).values()) == {SINGLE}
    fits(figure)


def test_without_any_clusters_and_with_clusters_everywhere(fits):
    case = _case()
    none = mde_figure(**{**case, "clusters": {}})
    fits(none)
    assert not _axes(none)["VMM/Cluster"].collections
    everywhere = {**case["clusters"], "N(0, I)": case["labels"]}
    full = mde_figure(**{**case, "clusters": everywhere})
    fits(full)
    assert any(t.get_gid() == "guide" for t in _axes(full)["legend"].texts)


def test_two_rows_and_one_row_fit(fits):
    case = _case(n_types=17, n_batches=16)
    for rows in (ROWS[:2], ROWS[2:]):
        chosen = {row: case["coordinates"][row] for row in rows}
        fits(mde_figure(**{**case, "coordinates": chosen}))


@pytest.mark.parametrize(
    ("n", "far", "note"), [(500, [7], "1 cell outside"), (300, [7, 9], "2 cells outside")]
)
def test_far_cells_do_not_shrink_the_rest(n, far, note):
    case = _case(n=n)
    case["coordinates"]["VMM"][far] = (900.0, 900.0)
    axes = _axes(mde_figure(**case))["VMM/Cell type"]
    assert np.ptp(axes.get_xlim()) < 60
    assert any(t.get_text() == note for t in axes.texts)


def test_all_points_are_inside_the_window_otherwise():
    case = _case()
    for name, axes in _axes(mde_figure(**case)).items():
        for scatter in axes.collections:
            (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
            x, y = scatter.get_offsets().T
            assert left < x.min() and x.max() < right and bottom < y.min() and y.max() < top, name
            assert right - left == pytest.approx(top - bottom)


def test_saved_files_are_deterministic_and_small(tmp_path):
    case = _case(n=300)
    one = [p.read_bytes() for p in save(mde_figure(**case), tmp_path / "one")]
    two = [p.read_bytes() for p in save(mde_figure(**case), tmp_path / "two")]
    assert one == two
    assert b"/Type3" not in one[0] and one[0].count(b"/Subtype /Image") >= 8


def test_errors():
    case = _case()
    with pytest.raises(InputError, match="shape"):
        mde_figure(**{**case, "coordinates": {"VMM": np.zeros((3, 2))}})
    with pytest.raises(InputError, match="clusters of 'VMM'"):
        mde_figure(**{**case, "clusters": {"VMM": np.zeros(3, int)}})
    with pytest.raises(InputError, match="labels"):
        mde_figure(**{**case, "label_names": ["only one"]})
    with pytest.raises(InputError, match="batch"):
        mde_figure(**{**case, "batch": case["batch"] - 1})


def test_without_any_label_clusters_have_colours_of_their_own():
    got = describe_clusters(np.array([0, 1, 1, 2]), np.full(4, -1), [])
    assert [cluster.name for cluster in got] == ["?a", "?b", "?c"]
    assert len({cluster.colour for cluster in got}) == 3
    assert UNLABELLED not in {cluster.colour for cluster in got}


def test_describe_clusters_by_hand():
    assigned = np.array([9, 9, 9, 4, 4, 4, 4, 2, 2, 7])
    labels = np.array([0, 0, 1, 0, 0, 0, 1, 0, 0, 1])
    got = describe_clusters(assigned, labels, TYPE_PALETTE[:3])
    assert [(c.code, c.size, c.label, c.rank, c.name) for c in got] == [
        (4, 4, 0, 0, "1a"),
        (9, 3, 0, 1, "1b"),
        (2, 2, 0, 2, "1c"),
        (7, 1, 1, 0, "2a"),
    ]
    assert [c.colour for c in got] == [
        TYPE_PALETTE[0],
        tint(TYPE_PALETTE[0], 1),
        tint(TYPE_PALETTE[0], 2),
        TYPE_PALETTE[1],
    ]


def test_letters():
    assert [letters(i) for i in (0, 1, 25, 26, 27, 51, 52)] == [
        "a",
        "b",
        "z",
        "aa",
        "ab",
        "az",
        "ba",
    ]


def test_many_clusters_leave_the_names_of_cell_types_whole():
    names = ["Mono_CD14", "Mono_CD16", "T_CD4"]
    case = _case(n_types=3, n_clusters=60)
    case["label_names"] = names
    case["clusters"] = {row: case["clusters"]["VMM"] for row in ROWS}
    legend = _axes(mde_figure(**case))["legend"]
    assert set(names) <= {text.get_text() for text in legend.texts}


# Names that are numbers ---------------------------------------------------------------------------


def test_a_type_called_by_a_number_is_marked_by_it():
    """And no other type is; names that only look like numbers to Python count as names."""
    assert type_marks(["B", "T"]) == ["1", "2"]
    assert type_marks(["0", "1", "2", "10"]) == ["0", "1", "2", "10"]
    assert type_marks(["1e5", "007", "1.0", "nan", "inf"]) == ["1e5", "007", "1.0", "2", "3"]
    assert type_marks(["2", "T cell", "1.0", "B cell"]) == ["2", "3", "1.0", "4"]


def test_panels_and_legend_show_the_names_that_are_numbers():
    """Each once: the first type is not 1, but 0."""
    case = _case(n_types=3, n_clusters=3)
    case["label_names"] = ["0", "2", "10"]
    axes = _axes(mde_figure(**case))
    assert {t.get_text() for t in axes["VMM/Cell type"].texts} == {"0", "2", "10"}
    names = {t.get_text() for t in axes["VMM/Cluster"].texts}
    assert names == {"0a", "2a", "10a", "3 clusters"}
    shown = [t.get_text() for t in axes["legend"].texts]
    assert [shown.count(name) for name in case["label_names"]] == [1, 1, 1]


# Cells without labels -----------------------------------------------------------------------------


def test_cells_without_a_label_are_grey_and_counted(fits):
    case = _case(n_types=3, n_clusters=3)
    case["labels"] = np.where(np.arange(400) % 4 == 3, -1, case["labels"])
    figure = mde_figure(**case)
    fits(figure)
    axes = _axes(figure)
    _no_overlap(figure, axes["legend"])
    types = [*category_colours(case["label_names"]).values(), UNLABELLED]
    xy = case["coordinates"]["VMM"]
    assert _colour_of(axes["VMM/Cell type"], xy) == [types[i] for i in case["labels"]]
    assert {t.get_text() for t in axes["VMM/Cell type"].texts} == {"1", "2", "3"}
    assert "no label (100 cells)" in {t.get_text() for t in axes["legend"].texts}


def test_a_cluster_without_labels_has_no_type():
    labels = np.array([0, 0, -1, -1, -1, -1, 1, -1])
    assigned = np.array([3, 3, 3, 3, 3, 5, 6, 6])
    got = describe_clusters(assigned, labels, TYPE_PALETTE[:2])
    assert [(c.code, c.size, c.label, c.name) for c in got] == [
        (3, 5, 0, "1a"),
        (6, 2, 1, "2a"),
        (5, 1, -1, "?a"),
    ]
    assert got[2].colour == UNLABELLED


def test_no_cell_has_a_label(fits):
    case = _case()
    case |= {"labels": np.full(400, -1), "label_names": []}
    figure = mde_figure(**case)
    fits(figure)
    axes = _axes(figure)
    assert set(_points(axes["VMM/Cell type"]).values()) == {UNLABELLED}
    assert "?a" in {t.get_text() for t in axes["VMM/Cluster"].texts}
    guide = next(t for t in axes["N(0, I)/Cluster"].texts if t.get_gid() == "guide")
    assert guide.get_text() == "?a, ?b, …: clusters by size;\nno cell has a label."


# Many categories ----------------------------------------------------------------------------------


def test_many_long_names_stand_below_the_panels(fits, monkeypatch):
    """The page is filled, and the width of a character is measured once."""
    measured = []
    measure = style._advance.__wrapped__
    monkeypatch.setattr(style, "_advance", style.lru_cache(4096)(
        lambda *of: measured.append(of) or measure(*of)
    ))  # fmt: skip
    case = _case(n=900, n_types=48, n_batches=60, n_clusters=96)
    case["label_names"] = [f"CD{i}-positive, alpha-beta memory T cell, {i}" for i in range(48)]
    case["batch_names"] = [f"donor {i} of the third cohort, second visit" for i in range(60)]
    figure = mde_figure(**case)
    assert len(measured) < 200
    fits(figure)
    axes = _axes(figure)
    _no_overlap(figure, axes["legend"])
    assert figure.get_figheight() < 14
    assert axes["legend"].get_position().y1 < axes["VMM/Batch"].get_position().y0
    assert axes["legend"].get_position().width > 0.9
    texts = {text.get_text() for text in axes["legend"].texts}
    assert texts >= {*case["label_names"], *case["batch_names"]}, "no name is cut"


def test_few_names_stand_at_the_side_of_a_single_row(fits):
    case = _case(n_types=6, n_batches=3)
    case["coordinates"] = {"VMM": case["coordinates"]["VMM"]}
    figure = mde_figure(**case)
    fits(figure)
    axes = _axes(figure)
    assert axes["legend"].get_position().x0 > axes["VMM/Cluster"].get_position().x1
    assert figure.get_figheight() < 3


def test_more_categories_than_fit_are_counted(fits):
    case = _case(n=900, n_types=2, n_batches=300)
    figure = mde_figure(**case)
    fits(figure)
    legend = _axes(figure)["legend"]
    assert "… and 181 more" in {t.get_text() for t in legend.texts}
    assert figure.get_figheight() < 16
