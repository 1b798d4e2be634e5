"""How every figure looks, and how it is written.

Figures are made without pyplot, so that drawing one leaves no global state behind, and are styled
by :func:`styled`, which holds the settings for the time of one call.

Text in PDF files is TrueType (type 42: no Type-3 fonts, which journals refuse; searchable and
editable). Text in SVG files is drawn as paths: a browser without the font would otherwise
substitute another one, and labels that were fitted to their panel would no longer fit.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from itertools import accumulate, takewhile
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from vmm.io import atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

PAGE_WIDTH = 7.2
"""Width of the text block that figures are drawn for, in inches (183 mm, a two-column page)."""
FONT_SIZE = 7.0
SMALL = 6.0
INK = "#222222"
MUTED = "#6b6b6b"
FAINT = "#d9d9d9"
CHOICE = "#14803c"
"""The green of the dotted box around the chosen setting."""
REFERENCE = "#c62828"
"""The red of reference lines."""

RC: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": FONT_SIZE,
    "mathtext.fontset": "dejavusans",
    "text.color": INK,
    "axes.titlesize": FONT_SIZE + 1,
    "axes.labelsize": FONT_SIZE,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.3,
    "lines.markersize": 4.5,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "vmm",
    "savefig.bbox": None,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}
"""Settings of matplotlib that differ from its defaults."""

FORMATS: dict[str, tuple[int, dict[str, Any]]] = {
    "pdf": (300, {"CreationDate": None, "ModDate": None}),
    "png": (200, {"Software": None}),
    "svg": (300, {"Date": None}),
}
"""Of each format: resolution (of the rasterised parts in vector files) and metadata."""

_Drawing = TypeVar("_Drawing", bound=Callable[..., Any])


def styled(draw: _Drawing) -> _Drawing:
    """Decorate a function so that it runs under the settings of this module."""

    @wraps(draw)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        import matplotlib as mpl

        with mpl.rc_context():
            mpl.rcdefaults()
            mpl.rcParams.update(RC)
            return draw(*args, **kwargs)

    return wrapper  # type: ignore[return-value]


def new_figure(width: float, height: float, **kwargs: Any) -> Figure:
    """Make an empty figure of that size in inches, drawn by Agg and unknown to pyplot."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), **kwargs)
    FigureCanvasAgg(figure)
    return figure


@styled
def note_figure(text: str) -> Figure:
    """Make a figure of a sentence that says why there is nothing to draw."""
    figure = new_figure(PAGE_WIDTH, 0.6)
    figure.text(0.5, 0.5, text, ha="center", va="center", color=MUTED, parse_math=False)
    return figure


@styled
def save(figure: Figure, stem: str | PathLike) -> list[Path]:
    """Write `figure` to ``<stem>.pdf``, ``<stem>.png`` and ``<stem>.svg``.

    Each file appears whole or not at all, and the same figure gives the same bytes.

    Parameters
    ----------
    figure
        The figure.
    stem
        Path without the suffix. Dots in it are kept.

    Returns
    -------
    list of pathlib.Path
        The files, in the order of :data:`FORMATS`.
    """
    stem = Path(stem)
    paths = []
    for suffix, (dpi, metadata) in FORMATS.items():
        path = stem.with_name(f"{stem.name}.{suffix}")
        with atomic(path) as temporary:
            figure.savefig(temporary, format=suffix, dpi=dpi, metadata=metadata)
        paths.append(path)
    return paths


def text_width(text: str, size: float, weight: str = "normal") -> float:
    """Width in inches of `text` set at `size` points: the sum of what its characters take."""
    return sum(_advance(character, weight) for character in text) * size / 72


@lru_cache(maxsize=4096)
def _advance(character: str, weight: str) -> float:
    """Return the width of a character, a part of the size of the font."""
    from matplotlib.font_manager import FontProperties, findfont, get_font
    from matplotlib.ft2font import LoadFlags

    font = get_font(findfont(FontProperties(family=RC["font.sans-serif"], weight=weight)))
    if not font.get_char_index(ord(character)):
        return 0.6  # the box that stands for it
    font.set_size(1.0, 72.0)
    glyph = font.load_char(ord(character), flags=LoadFlags.NO_HINTING)
    return float(glyph.linearHoriAdvance) / 65536


def shorten(text: str, width: float, size: float) -> str:
    """Cut `text` with an ellipsis so that it fits `width` inches at `size` points."""
    if text_width(text, size) <= width:
        return text
    room = width - text_width("…", size)
    widths = accumulate(text_width(character, size) for character in text)
    kept = sum(1 for _ in takewhile(lambda reached: reached <= room, widths))
    return text[:kept].rstrip() + "…"


def outline(text: Text) -> Text:
    """Give `text` a white halo, so that it can be read on top of points."""
    from matplotlib.patheffects import withStroke

    text.set_path_effects([withStroke(linewidth=1.4, foreground="white", alpha=0.9)])
    return text


def panel_letter(axes: Axes, letter: str) -> None:
    """Write a bold letter at the upper left corner outside `axes`."""
    axes.annotate(
        letter,
        (0, 1),
        (-22, 6),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=FONT_SIZE + 2,
        fontweight="bold",
        va="bottom",
    )
