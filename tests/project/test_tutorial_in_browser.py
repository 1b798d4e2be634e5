"""The tutorial as ``make docs`` made it, opened in Chromium."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import assert_readable

PAGES = Path(__file__).resolve().parents[2] / "docs" / "_build" / "html"
NOTICES = ("[PST]: ", "Got invalid theme mode: . Resetting to auto.")
"""What the theme says of itself, the second where no reader has chosen light or dark yet."""


@pytest.mark.parametrize("width", [1300, 400])
@pytest.mark.parametrize("name", ["tutorial", "index", "command_line"])
def test_pages_of_the_documentation_can_be_read(name, width):
    page = PAGES / f"{name}.html"
    if not page.exists():
        pytest.skip("`make docs` has not been run here")
    assert_readable(page, width, NOTICES)
