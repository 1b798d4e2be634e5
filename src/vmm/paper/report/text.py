"""Numbers as the page prints them."""

from __future__ import annotations

import math
import re

from markupsafe import Markup, escape

NARROW_SPACE = "\u202f"
REFERENCE = re.compile(r"\bdoi:(?P<doi>10\.\d+/[^\s;,<>\"']+)|\barXiv:(?P<arxiv>\d{4}\.\d{4,5})")


def whole(number: float | None) -> str:
    """Return a whole number with its thousands set apart."""
    return (
        "–"
        if number is None or math.isnan(number)
        else f"{int(number):,}".replace(",", NARROW_SPACE)
    )


def duration(seconds: float | None) -> str:
    """Return a time with its two largest units."""
    if seconds is None or math.isnan(seconds):
        return "–"
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def memory(megabytes: float | None) -> str:
    """Return an amount of memory in MB, or GB from 1000 MB."""
    if megabytes is None or math.isnan(megabytes):
        return "–"
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{megabytes:.0f} MB"


def decimal(number: float | None, digits: int = 3) -> str:
    """Return a number with that many significant digits, with a real minus sign."""
    if number is None or math.isnan(number):
        return "–"
    if math.isinf(number):
        return "∞" if number > 0 else "−∞"
    return f"{number:.{digits}g}".replace("-", "−")


def probability(p: float | None) -> str:
    """Return a p-value."""
    if p is None or math.isnan(p):
        return "–"
    return "< 0.0001" if p < 1e-4 else f"{p:.3g}" if p < 0.1 else f"{p:.3f}"


def citation(text: str) -> Markup:
    """Return a citation with its DOIs and arXiv numbers as links."""
    parts, end = [Markup()], 0
    for match in REFERENCE.finditer(text):
        site = "https://doi.org/" if match["doi"] else "https://arxiv.org/abs/"
        address = site + (match["doi"] or match["arxiv"])
        link = Markup('<a href="{}">{}</a>').format(address, match[0])
        parts += [escape(text[end : match.start()]), link]
        end = match.end()
    return Markup().join([*parts, escape(text[end:])])


def is_link(address: str | None) -> bool:
    """Whether an address may be linked to."""
    return bool(address) and bool(re.match(r"https?://", str(address)))


def plural(count: int, one: str, many: str = "") -> str:
    """Return a count with its noun."""
    return f"{whole(count)} {one if count == 1 else many or one + 's'}"
