"""Progress: what it says, and where."""

from __future__ import annotations

import io

import pytest

from vmm.progress import progress, say, shown_on, stream

ROW = {"epoch": 7, "valid_elbo": -12.34, "utilized_clusters": 5, "valid_unmerged_nmi": 0.5}
NO_ELBO = {"epoch": 9, "seconds": 0.1}
PRIOR_ALONE = {"epoch": 8, "valid_elbo": -12.0, "utilized_clusters": 0}


def test_progress_goes_to_standard_error_unless_another_stream_is_set(capsys):
    inner = io.StringIO()
    say("before")
    with pytest.raises(KeyboardInterrupt), shown_on(io.StringIO()):
        with shown_on(inner):
            assert stream() is inner
            say("within")
        raise KeyboardInterrupt
    say("after")
    assert inner.getvalue() == "within\n"
    assert capsys.readouterr() == ("", "before\nafter\n")


def test_epochs_are_shown_now_and_then():
    shown = io.StringIO()
    with shown_on(shown):
        always, seldom = (progress("vmm", 10, interval=seconds) for seconds in (0, 60))
        for row in (ROW, PRIOR_ALONE, NO_ELBO):
            always(row)
            seldom(row)
    assert shown.getvalue() == (
        "vmm: epoch 7, ELBO -12.3, 5 clusters, NMI 0.500\nvmm: epoch 8, ELBO -12.0\nvmm: epoch 9\n"
    )


def test_a_terminal_gets_a_bar():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    with shown_on(Terminal()):
        progress("vmm", 10)(ROW)
        assert "7/10" in stream().getvalue() and "5 clusters" in stream().getvalue()
