"""What the pages of a run and of ``vmm fit`` share: one style, and images that lie within."""

from __future__ import annotations

import base64
from pathlib import Path


def style() -> str:
    """Return the pages' style sheet."""
    return Path(__file__).with_name("page.css").read_text()


def embedded(image: Path) -> str:
    """Return a PNG file as an address that holds it."""
    return "data:image/png;base64," + base64.b64encode(image.read_bytes()).decode()
