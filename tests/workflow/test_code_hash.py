"""What the hash of our own source code covers."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "workflow"))

from provenance import Sources  # noqa: E402 (the folder is no package)


@pytest.fixture(scope="module")
def ours() -> Sources:
    return Sources(ROOT / "src")


def test_training_depends_on_what_it_is_made_by(ours):
    found = set(ours.dependencies("vmm.jobs.train"))
    assert {
        "vmm.training.prior_step",
        "vmm.priors.VampPriorMixture",
        "vmm.empirical_bayes.log_wishart",
        "vmm.models.scvi.SCVI",
        "vmm.models.image_vae.ImageVAE",
        "vmm.counts._CountLogLikelihood",
        "vmm.gaussians.widened_log_prob",
        "vmm.scvi_tools.train_scvi_tools",
        "vmm.data.containers.load",
    } <= found
    for part in ("figures", "tables", "report", "metrics", "evaluation", "baselines", "config"):
        assert not [name for name in found if name.startswith(f"vmm.{part}")], part


def test_scores_do_not_depend_on_training(ours):
    for name in ("evaluate_clustering", "evaluate_integration"):
        found = ours.dependencies(f"vmm.evaluation.{name}")
        assert not [n for n in found if n.startswith(("vmm.training", "vmm.models", "vmm.priors"))]
