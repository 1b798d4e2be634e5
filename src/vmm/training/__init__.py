"""Algorithm 1 and what surrounds it: epochs, early stopping, checkpoints, trials at once."""

from vmm.training.embedding import embed, evaluate
from vmm.training.empirical_bayes import EmpiricalBayes
from vmm.training.loop import fit
from vmm.training.settings import FitResult, Settings
from vmm.training.stacked import fit_stacked

__all__ = [
    "EmpiricalBayes",
    "FitResult",
    "Settings",
    "embed",
    "evaluate",
    "fit",
    "fit_stacked",
]
