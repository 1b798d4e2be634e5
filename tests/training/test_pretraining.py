"""Pre-training: what an interruption of the training after it leaves of it."""

from __future__ import annotations

import pytest
from trainings import (
    SETTINGS,
    TRAIN,
    VALID,
    assert_same,
    make_data,
    make_model,
    snapshot,
)

import vmm.training.pretraining
from vmm.training.pretraining import pretrain

SPLIT = (TRAIN, VALID)


def pretrained(checkpoint=None, n: int = 1) -> list:
    data, _ = make_data("image")
    models = [make_model("image", "vade", seed) for seed in range(n)]
    pretrain(models, data, [SPLIT] * n, [SETTINGS] * n, checkpoint)
    return models


@pytest.mark.parametrize("n", [1, 2])
def test_what_is_done_is_not_done_again(n, tmp_path, monkeypatch):
    """On another GPU it would end with other last digits."""
    expected = pretrained(n=n)
    first = pretrained(tmp_path / "checkpoint.pt", n)
    monkeypatch.setattr(vmm.training.pretraining, "fit_all", None)
    monkeypatch.setattr(vmm.training.pretraining, "_samples", None)
    again = pretrained(tmp_path / "checkpoint.pt", n)
    for models in zip(expected, first, again, strict=True):
        states = [snapshot(model) for model in models]
        assert_same(states[0], states[1])
        assert_same(states[0], states[2])


def test_what_cannot_be_used_is_told_once(tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"not a checkpoint")
    with pytest.warns(UserWarning, match="checkpoint not used") as told:
        models = pretrained(tmp_path / "checkpoint.pt")
    assert len(told) == 1
    assert_same(snapshot(models[0]), snapshot(pretrained()[0]))
