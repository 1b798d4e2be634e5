"""The report's page, opened in Chromium."""

from __future__ import annotations

import pytest
from browser import assert_readable

from vmm.paper.report.page import build_report, write_report


@pytest.mark.parametrize("width", [1300, 400])
def test_the_report_can_be_read(width, small_run, config):
    write_report(build_report(small_run, config), small_run / "report.html")
    assert_readable(small_run / "report.html", width)
