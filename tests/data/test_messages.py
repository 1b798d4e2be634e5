from __future__ import annotations

from vmm.data.messages import as_text, listing


def test_long_lists_are_cut() -> None:
    assert listing("abc") == "a, b, c" and listing([]) == "none"
    assert listing(range(30), 3) == "0, 1, 2, … (30 in all)"


def test_bytes_become_text() -> None:
    assert as_text(b"a\xff") == "a�" and as_text(7) == "7"
