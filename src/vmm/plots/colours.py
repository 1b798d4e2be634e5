"""Colours: one for every category, the same one wherever the category appears.

The two palettes for categories were chosen by greedy search in the sRGB gamut: each further colour
is the one farthest from all earlier ones, distance being the smallest of those seen with normal
vision, protanopia and deuteranopia (Machado, Oliveira & Fernandes 2009, severity 1; Euclidean in
OKLab), lightness kept where points show on white paper. No 17 colours are told apart by every
eye, so the figures also number their categories.
"""

from __future__ import annotations

from collections.abc import Sequence


def _palette(colours: str) -> tuple[str, ...]:
    return tuple(f"#{colour}" for colour in colours.split())


TYPE_PALETTE = _palette(
    "2372ae 7cd6b5 8e2a0b cb7e19 53177d a69afc e9bb1e 659e9c b63074 c73f15 "
    "766fea 2e40b2 552f3f 83cafb 2bbe76 f375c9 166655 ae7167 812f89 267a2a "
    "58e080 ef8c55 078b9c 4760d4 374264 760714 c16cc9 606288 5f8df3 df9e93"
)
"""For cell types, classes and clusters: vivid, any first n of them far apart."""

BATCH_PALETTE = _palette(
    "33447f d9b25a 7192d7 6e751b 65dfeb 651b05 ce7682 805f95 245f4b eea3ab 253d3f afa7f5 "
    "a68931 7f3e00 916b65 b0da8e d0946d 5da0ab 4b2260 3f83ba 585574 48c8cc 758e62 6c602f"
)
"""For batches: muted, so that no batch is taken for a cell type."""

SINGLE = "#8a8f98"
"""The colour of the only category there is."""

UNLABELLED = "#c9ccd1"
"""The colour of cells of which it is not known."""

ORDERED_PALETTE = _palette("e0992b 2f86a6 35206b a34a7e 111111")
"""For ordered settings, such as batch sizes: the first three run from light to dark."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
"""Markers that go with colours where lines are told apart."""


def mix(colour: str, other: str, amount: float) -> str:
    """Blend `colour` with a share `amount` of `other`, in sRGB, as ``#rrggbb``."""
    pairs = zip(_channels(colour), _channels(other), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * amount):02x}" for a, b in pairs)


def _channels(colour: str) -> list[int]:
    return [int(colour[i : i + 2], 16) for i in (1, 3, 5)]


def tint(colour: str, rank: int) -> str:
    """Return the `rank`-th member of a colour's family: itself, then lighter and darker ones.

    From 7 on the family repeats.
    """
    other, amount = (
        ("#ffffff", 0.0),
        ("#ffffff", 0.45),
        ("#000000", 0.35),
        ("#ffffff", 0.68),
        ("#000000", 0.60),
        ("#ffffff", 0.24),
        ("#000000", 0.18),
    )[rank % 7]
    return mix(colour, other, amount)


def category_colours(names: Sequence[str], palette: Sequence[str] = TYPE_PALETTE) -> dict[str, str]:
    """Map names to colours by their position, so that a data set's figures agree.

    `names` are all categories of the data set, in its own order, not only those in one panel. When
    the palette runs out, tints of its colours follow.
    """
    return {
        name: tint(palette[i % len(palette)], i // len(palette)) for i, name in enumerate(names)
    }


def batch_colours(names: Sequence[str]) -> dict[str, str]:
    """Map batches to colours as :func:`category_colours` does; a single batch is grey."""
    if len(names) == 1:
        return {names[0]: SINGLE}
    return category_colours(names, BATCH_PALETTE)


def ordered_colours(n: int) -> list[str]:
    """Colours for `n` ordered settings; the last one repeats beyond the palette."""
    return [ORDERED_PALETTE[min(i, len(ORDERED_PALETTE) - 1)] for i in range(n)]
