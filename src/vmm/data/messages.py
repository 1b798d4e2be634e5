"""Names and values as they are told in messages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def listing(values: Iterable[object], limit: int = 20) -> str:
    """Join names for a message, at most `limit` of them."""
    names = [str(value) for value in values]
    more = f", … ({len(names)} in all)" if len(names) > limit else ""
    return (", ".join(names[:limit]) + more) or "none"


def number_of(n: int, noun: str) -> str:
    """Return a number with its noun: ``1 cell``, ``1,200 cells``, ``2 batches``."""
    plural = "es" if noun.endswith(("ch", "s", "x")) else "s"
    return f"{n:,} {noun}{'' if n == 1 else plural}"


def in_the_median(median: float, least: float, most: float) -> str:
    """Return a median with its range: ``0.27 in the median (0.20 to 0.31)``; of equals the one."""
    low, high = f"{least:.2f}", f"{most:.2f}"
    return low if low == high else f"{median:.2f} in the median ({low} to {high})"


def as_text(value: Any) -> str:
    """Return a name as text; bytes that are not UTF-8 become question marks in diamonds."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
