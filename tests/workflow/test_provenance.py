"""The hash of source code: what changes it, and what does not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "workflow"))

from provenance import Sources  # noqa: E402 (the folder is no package)

MODULES = {
    "__init__": "from pack.jobs import train\n",
    "jobs": '''
"""Jobs."""
import math
from pack import numbers
from pack.names import LABELS, UNUSED as OTHER
from pack.models import build
import pack.tools

log = print
SIZE = 3

def train(x):
    """Train."""
    from pack.late import lazily  # imported when needed
    return build(x, SIZE) + lazily(x) + numbers.one()

def draw(x):
    return LABELS[x]

def measure(x):
    return pack.tools.ruler(x)
''',
    "names": 'LABELS = {"a": 1}\nUNUSED = 2\n',
    "numbers": "def one():\n    return ONE\n\nONE = 1\n",
    "late": "def lazily(x):\n    return x\n",
    "tools": "def ruler(x):\n    return x\n",
    "plain": "def alone():\n    return 1\n",
    "models/__init__": "from .build import build, Model\n",
    "models/build": """
from ..names import LABELS as L

def build(x, size):
    return Model().run(x)

class Model:
    def run(self, x):
        return helper(x)

def helper(x):
    return x + 1

def idle():
    return L
""",
}


@pytest.fixture
def sources(tmp_path):
    """Return a function that hashes names of a package in which texts were replaced."""

    def hashed(*names: str, module: str = "jobs", old: str = "", new: str = "") -> str:
        for name, text in MODULES.items():
            path = tmp_path / "pack" / f"{name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            if name == module and old:
                assert old in text
                text = text.replace(old, new)
            path.write_text(text)
        return Sources(tmp_path).hash(*names)

    return hashed


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("jobs", "SIZE = 3", "SIZE = 4"),
        ("jobs", "+ lazily(x)", "- lazily(x)"),
        ("models/build", "x + 1", "x + 2"),
        ("models/build", "Model().run(x)", "2 * Model().run(x)"),
        ("models/__init__", "from .build import build", "from ..late import lazily as build"),
        ("late", "return x", "return -x"),
        ("numbers", "ONE = 1", "ONE = 1.5"),
        ("models/build", "class Model:", "print()\n\nclass Model:"),
    ],
)
def test_what_a_function_is_made_of_changes_its_hash(sources, module, old, new):
    assert sources("pack.jobs.train") != sources("pack.jobs.train", module=module, old=old, new=new)


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("names", '"a": 1', '"a": 2'),
        ("plain", "return 1", "return 2"),
        ("tools", "return x", "return -x"),
        ("jobs", "return LABELS[x]", "return LABELS[0]"),
        ("jobs", '"""Train."""', '"""Train it."""'),
        ("jobs", '"""Jobs."""', '"""All jobs."""'),
        ("jobs", "  # imported when needed", ""),
        ("jobs", "SIZE = 3", "SIZE  =  3\n"),
        ("models/build", "return L", "return None"),
    ],
)
def test_anything_else_does_not(sources, module, old, new):
    assert sources("pack.jobs.train") == sources("pack.jobs.train", module=module, old=old, new=new)


def test_a_module_named_in_full_counts_as_a_whole(sources):
    changed = sources("pack.jobs.measure", module="tools", old="return x", new="return -x")
    assert sources("pack.jobs.measure") != changed


def test_re_exports_are_followed(sources):
    assert sources("pack.train") == sources("pack.jobs.train")
    assert sources("pack.models.build") == sources("pack.models.build.build")


def test_a_hash_of_several_names_covers_all(sources):
    both = sources("pack.jobs.train", "pack.jobs.draw")
    changed = {"module": "names", "old": '"a": 1', "new": '"a": 2'}
    assert sources("pack.jobs.train", "pack.jobs.draw", **changed) != both
    assert sources("pack.jobs.draw", "pack.jobs.train") == both


@pytest.mark.parametrize("name", ["pack.jobs.trian", "pack.nowhere.train", "numpy.mean"])
def test_a_name_that_is_not_defined(sources, name):
    with pytest.raises(LookupError, match=name):
        sources(name)


# ------------------------------------------------------------------------------ our own package


@pytest.fixture(scope="module")
def ours() -> Sources:
    return Sources(ROOT / "src")


def test_training_depends_on_what_it_is_made_by(ours):
    found = set(ours.dependencies("vmm.benchmark.jobs.train"))
    assert {
        "vmm.training.steps.prior_step",
        "vmm.priors.mixture.VampPriorMixture",
        "vmm.priors.hyperpriors.log_wishart",
        "vmm.models.count_vae.SCVI",
        "vmm.models.image_vae.ImageVAE",
        "vmm.numerics.counts._CountLogLikelihood",
        "vmm.numerics.gaussians.widened_log_prob",
        "vmm.benchmark.baselines.scvi_tools.train_scvi_tools",
        "vmm.data.containers.load",
    } <= found
    for part in ("figures", "tables", "report", "metrics", "evaluation", "baselines", "config"):
        assert not [name for name in found if name.startswith(f"vmm.{part}")], part


def test_scores_do_not_depend_on_training(ours):
    for name in ("evaluate_clustering", "evaluate_integration"):
        found = ours.dependencies(f"vmm.benchmark.evaluation.{name}")
        assert not [n for n in found if n.startswith(("vmm.training", "vmm.models", "vmm.priors"))]
