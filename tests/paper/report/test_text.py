"""Numbers as the page prints them."""

from __future__ import annotations

import math

import pytest

from vmm.paper.report import text
from vmm.paper.report.problems import ranges


@pytest.mark.parametrize(
    ("seconds", "printed"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (3600, "1 h 0 min"),
        (90061, "1 d 1 h"),
        (math.nan, "–"),
    ],
)
def test_duration(seconds, printed):
    assert text.duration(seconds) == printed


@pytest.mark.parametrize(
    ("megabytes", "printed"), [(999.4, "999 MB"), (1000, "1.0 GB"), (12345, "12.3 GB"), (None, "–")]
)
def test_memory(megabytes, printed):
    assert text.memory(megabytes) == printed


@pytest.mark.parametrize(
    ("p", "printed"),
    [(0, "< 0.0001"), (0.00123, "0.00123"), (0.0499, "0.0499"), (1, "1.000"), (math.nan, "–")],
)
def test_probability(p, printed):
    assert text.probability(p) == printed


@pytest.mark.parametrize(
    ("number", "printed"), [(-0.01234, "−0.0123"), (math.inf, "∞"), (-math.inf, "−∞"), (None, "–")]
)
def test_decimal(number, printed):
    assert text.decimal(number) == printed


def test_whole_numbers_have_their_thousands_apart():
    assert text.whole(11990) == "11\u202f990"
    assert text.plural(1, "batch", "batches") == "1 batch"
    assert text.plural(2, "batch", "batches") == "2 batches"


def test_a_citation_links_its_doi_and_nothing_else():
    cited = text.citation("A & B, doi:10.1186/s13059-017-1382-0; arXiv:1708.07747 (2017)")
    assert cited == (
        'A &amp; B, <a href="https://doi.org/10.1186/s13059-017-1382-0">'
        'doi:10.1186/s13059-017-1382-0</a>; <a href="https://arxiv.org/abs/1708.07747">'
        "arXiv:1708.07747</a> (2017)"
    )
    assert text.citation('doi:10.1/x"><script>') == (
        '<a href="https://doi.org/10.1/x">doi:10.1/x</a>&#34;&gt;&lt;script&gt;'
    )


def test_ranges():
    assert ranges([5, 0, 2, 1, 1]) == "0–2, 5"
    assert ranges([]) == ""
