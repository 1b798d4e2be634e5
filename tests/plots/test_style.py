"""Files: three formats, deterministic, whole, without Type-3 fonts; settings; text widths."""

import base64
import re

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from vmm.plots.style import FORMATS, new_figure, save, shorten, styled, text_width


@styled
def _figure() -> Figure:
    figure = new_figure(2, 1.5)
    axes = figure.add_axes((0.2, 0.2, 0.7, 0.7))
    rng = np.random.default_rng(0)
    axes.scatter(*rng.normal(size=(2, 50)), s=3, rasterized=True)
    axes.set_title(r"µ ± $\pi_j$, naïve")
    return figure


def test_writes_three_files_and_keeps_dots_of_the_stem(tmp_path):
    paths = save(_figure(), tmp_path / "new" / "b128-r2.5")
    assert [p.name for p in paths] == ["b128-r2.5.pdf", "b128-r2.5.png", "b128-r2.5.svg"]
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == sorted(p.name for p in paths)
    assert paths[0].read_bytes()[:5] == b"%PDF-"
    assert mpl.image.imread(paths[1]).shape == (300, 400, 4)  # 200 dpi


def test_bytes_are_deterministic_and_carry_no_date(tmp_path):
    first = [p.read_bytes() for p in save(_figure(), tmp_path / "a")]
    second = [p.read_bytes() for p in save(_figure(), tmp_path / "b")]
    assert first == second
    assert b"CreationDate" not in first[0]
    assert b"<dc:date>" not in first[2]


def test_fonts_are_truetype_in_pdf_and_paths_in_svg(tmp_path):
    pdf, _, svg = (p.read_bytes() for p in save(_figure(), tmp_path / "a"))
    assert b"/Type3" not in pdf
    assert b"/Type0" in pdf or b"/TrueType" in pdf
    assert b"<text" not in svg


def test_points_are_rasterised_in_vector_files(tmp_path):
    pdf, _, svg = (p.read_bytes() for p in save(_figure(), tmp_path / "a"))
    assert b"/Subtype /Image" in pdf
    pictures = re.findall(rb'data:image/png;base64,([^"]+)"', svg)
    assert len(pictures) == 1
    assert base64.b64decode(pictures[0])[:8] == b"\x89PNG\r\n\x1a\n"


def test_a_failing_save_leaves_the_old_file(tmp_path, monkeypatch):
    old = save(_figure(), tmp_path / "a")[0].read_bytes()
    figure = _figure()
    monkeypatch.setattr(figure, "savefig", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save(figure, tmp_path / "a")
    assert (tmp_path / "a.pdf").read_bytes() == old
    assert len(list(tmp_path.iterdir())) == len(FORMATS)


def test_style_ignores_and_restores_the_users_settings():
    with mpl.rc_context({"font.size": 31, "axes.grid": True}):
        assert styled(lambda: mpl.rcParams["font.size"])() == 7
        assert styled(lambda: mpl.rcParams["axes.grid"])() is False
        assert mpl.rcParams["font.size"] == 31


def test_text_is_measured_and_cut():
    # DejaVu Sans: the advance of "n" is 1298 of 2048 units an em.
    per_letter = 1298 / 2048 * 10 / 72
    assert text_width("n" * 21, 10) - text_width("n" * 20, 10) == pytest.approx(per_letter, 1e-3)
    assert text_width("a$b$c", 8) > text_width("abc", 8)  # not read as mathematics
    cut = shorten("Neutrophil_CD14_high", 0.5, 6)
    assert cut.endswith("…") and "Neutrophil".startswith(cut[:-1])
    assert text_width(cut, 6) <= 0.5
    assert shorten("short", 2.0, 6) == "short"
