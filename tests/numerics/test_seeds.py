from __future__ import annotations

import numpy as np
import pytest
import torch

from vmm.numerics.seeds import global_seed, seed_of


def drawn() -> tuple[float, float]:
    return float(np.random.random()), float(torch.rand(()))


def test_global_states_are_seeded_and_put_back():
    with global_seed(3):
        first = drawn()
    with global_seed(7):
        before = drawn()
        with pytest.raises(KeyError), global_seed(3):
            assert drawn() == first
            raise KeyError
        after = drawn()
    with global_seed(7):
        assert (drawn(), drawn()) == (before, after)


def test_purposes_and_trials_have_seeds_of_their_own():
    seeds = {seed_of(s, t, p) for s in (0, 1) for t in (0, 1) for p in ("network", "markers")}
    assert len(seeds) == 8 and seed_of(0, 0, "network") == seed_of(0, 0, "network")
