"""Batch size and ratio chosen without labels."""

from __future__ import annotations

import numpy as np
import pytest
from real_cells import make_pbmc

import vmm
from vmm.errors import InputError
from vmm.training.choice import choose

SAME, OTHER, HALVES = [0, 0, 1, 1], [0, 1, 0, 1], [0, 0, 0, 1]


def trained(*each: tuple[list[int], float]) -> dict[int, tuple[np.ndarray, float]]:
    return {seed: (np.array(codes), elbo) for seed, (codes, elbo) in enumerate(each)}


def test_of_those_that_fit_as_well_the_most_stable_is_chosen():
    """The second is behind by 1 ± 1, the third by 2 ± 0, though it is the most stable."""
    found = choose(
        [
            (128, 1.0, trained((SAME, -10.0), (OTHER, -10.0))),
            (128, 5.0, trained((SAME, -10.0), (HALVES, -12.0))),
            (256, 5.0, trained((SAME, -12.0), (SAME, -12.0))),
        ],
        [0, 1],
    )
    table = found.table
    assert table["status"].tolist() == ["less stable", "chosen", "worse fit"]
    np.testing.assert_allclose(table["behind"], [0, 1, 2])
    np.testing.assert_allclose(table["se"], [0, 1, 0], atol=1e-12)
    np.testing.assert_allclose(table["ari"], [-0.5, 0, 1])
    assert (found.batch_size, found.prior_learning_ratio) == (128, 5.0)
    assert found.options == {"batch_size": 128, "prior_learning_ratio": 5.0}
    assert "of the 2 of 3 settings whose validation ELBO is within" in found.reason
    assert "(mean adjusted Rand index 0.000, 2.0 clusters)." in found.reason


def test_one_cluster_is_no_agreement_and_a_lost_training_no_setting():
    found = choose(
        [
            (64, 1.0, trained(([0, 0, 0, 0], -1.0), ([0, 0, 0, 0], -1.0))),
            (64, 5.0, trained((SAME, -2.0))),
            (64, 10.0, trained((SAME, -9.0), (OTHER, -9.0))),
            (128, 1.0, {}),
        ],
        [0, 1],
    )
    assert found.table["status"].tolist() == ["one cluster", "diverged", "chosen", "diverged"]
    assert found.table["n_seeds"].tolist() == [2, 1, 2, 0]
    assert "the only one of 4 settings whose validation ELBO is within" in found.reason
    with pytest.raises(InputError, match="no setting gives two clusters or more with every seed"):
        choose([(64, 1.0, trained((SAME, 0.0), ([1, 1, 1, 1], 0.0)))], [0, 1])


def test_a_search():
    """Two settings with two seeds; the same seeds are those of models."""
    pbmc = make_pbmc(30)
    vmm.SCVI.setup_anndata(pbmc, layer="counts")
    networks = {"n_hidden": 8, "n_latent": 3, "n_components": 5, "seed": 4}
    how = {"max_epochs": 3, "learning_rate": 3e-3, "enable_progress_bar": False}
    found = vmm.SCVI.tune(
        pbmc, batch_sizes=[64], prior_learning_ratios=[5, 1], n_seeds=2, **how, **networks
    )
    assert found.table["prior_learning_ratio"].tolist() == [1, 5]
    assert (found.table["status"] == "chosen").sum() == 1
    elbos = []
    for seed in (4, 5):
        model = vmm.SCVI(pbmc, **networks | {"seed": seed})
        model.train(batch_size=64, prior_learning_ratio=5, **how)
        elbos.append(-model.history["elbo_validation"].min().item())
    assert found.table.loc[1, "elbo"] == pytest.approx(np.mean(elbos), abs=0.05)


def test_a_prior_without_empirical_bayes_has_no_ratio_to_tune():
    pbmc = make_pbmc(30)
    vmm.SCVI.setup_anndata(pbmc, layer="counts")
    networks = {"prior": "vampprior", "n_hidden": 8, "n_latent": 3, "n_components": 5}
    how = {"max_epochs": 1, "n_seeds": 2, "enable_progress_bar": False}
    found = vmm.SCVI.tune(pbmc, batch_sizes=[64, 128], **how, **networks)
    assert found.table["batch_size"].tolist() == [64, 128]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"batch_sizes": []}, "`batch_sizes` and `prior_learning_ratios` must have a value each"),
        ({"n_seeds": 1}, "`n_seeds` is 1; it must be a whole number of at least 2"),
        ({"batch_sizes": [1]}, "`batch_sizes` is 1; it must be a whole number of at least 2"),
        ({"prior_learning_ratios": [0]}, "`prior_learning_ratios` is 0; it must be greater than 0"),
        ({"prior": "normal"}, "prior='normal' has no clusters, whose stability could tell"),
    ],
)
def test_bad_input_gets_one_sentence(given, message):
    pbmc = make_pbmc(30)
    vmm.SCVI.setup_anndata(pbmc, layer="counts")
    with pytest.raises(InputError, match=message):
        vmm.SCVI.tune(pbmc, **given)
