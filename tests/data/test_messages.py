from __future__ import annotations

from vmm.data.messages import as_text, in_the_median, listing, number_of


def test_long_lists_are_cut() -> None:
    assert listing("abc") == "a, b, c" and listing([]) == "none"
    assert listing(range(30), 3) == "0, 1, 2, … (30 in all)"


def test_bytes_become_text() -> None:
    assert as_text(b"a\xff") == "a�" and as_text(7) == "7"


def test_numbers_agree_with_their_nouns() -> None:
    assert number_of(1, "cell") == "1 cell" and number_of(0, "cell") == "0 cells"
    assert number_of(1234, "batch") == "1,234 batches" and number_of(1, "batch") == "1 batch"


def test_a_range_of_equal_numbers_is_one_number() -> None:
    assert in_the_median(0.274, 0.2, 0.31) == "0.27 in the median (0.20 to 0.31)"
    assert in_the_median(0.271, 0.2701, 0.274) == "0.27"
