"""The hash of the files that make a result: what changes it, and what does not."""

from __future__ import annotations

import ast
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vmm.benchmark import provenance
from vmm.benchmark.methods.records import METHODS
from vmm.benchmark.provenance import SRC, code_hash, content_hashes, dependencies

SCRIPTS = SRC.parent / "workflow" / "scripts"

FILES = {
    "scripts/job": '''
"""A job."""
from _helper import say
from pack.train import train
import numpy

say(train(numpy.ones(3)))
''',
    "scripts/_helper": "def say(x):\n    open('there', 'w').write(str(x))\n",
    "scripts/other": "import pack.models.vae\n",
    "src/pack/__init__": '''
"""A lazy package."""
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pack.plots import draw

def __getattr__(name):
    from pack import plots
    return getattr(plots, name)
''',
    "src/pack/train": '''
"""Training."""
from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from pack.data import load
from pack.priors import Prior as Base, by_name
from pack.progress import show
from .errors import InputError

if TYPE_CHECKING:
    from pack.unused import Typed

log = logging.getLogger(__name__)
SIZE = 3

class Spec:
    size: int = 2

def train(x: Typed, prior=by_name("gmm")) -> Typed:
    """Train."""
    from pack.late import lazily  # only when needed
    log.info("training %s", x)
    if x is None:
        raise InputError(f"no {x}") from None
    print("trained")
    print("result", file=show(x))
    return lazily(x, load(SIZE))
''',
    "src/pack/data/__init__": '"""Data."""\nfrom pack.data.read import load\n'
    "from pack.data.fetch import fetch\n",
    "src/pack/data/read": 'FILES = ["table.csv", "absent.csv"]\n\ndef load(n):\n    return n\n',
    "src/pack/data/fetch": "def fetch():\n    return 1\n",
    "src/pack/priors/__init__": "from pack.priors.base import Prior\n"
    "from pack.priors.records import PRIORS\n\ndef by_name(name):\n    return PRIORS[name]\n",
    "src/pack/priors/base": "class Prior:\n    pass\n",
    "src/pack/priors/records": "from pack.priors import gmm, vmm\n\nPRIORS = {'gmm': gmm}\n",
    "src/pack/priors/gmm": "from pack.priors.base import Prior\n\nclass GMM(Prior):\n    pass\n",
    "src/pack/priors/vmm": "class VMM:\n    pass\n",
    "src/pack/models/__init__": "",
    "src/pack/models/vae": "from pack import draw\n",
    "src/pack/plots": "def draw():\n    return 1\n",
    "src/pack/progress": "def show(x):\n    return x\n",
    "src/pack/errors": "class InputError(Exception):\n    pass\n",
    "src/pack/late": "def lazily(x, n):\n    return x + n\n",
    "src/pack/unused": "Typed = int\n",
}


@pytest.fixture
def project(tmp_path):
    """Return a function that writes the project, edited, anew; it returns script and source."""
    written = []

    def write(file: str = "", old: str = "", new: str = "") -> tuple[Path, Path]:
        folder = tmp_path / str(len(written))
        written.append(folder)
        for name, text in FILES.items():
            path = folder / f"{name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            if name == file:
                assert old in text
                text = text.replace(old, new)
            path.write_text(text)
        table = folder / "src" / "pack" / "data" / "table.csv"
        table.write_text(new if file == "table" else "1,2\n")
        return folder / "scripts" / "job.py", folder / "src"

    return write


def hashed(project, *edit: str, modules=("pack.priors.gmm",)) -> str:
    script, src = project(*edit)
    return code_hash(script, modules, src=src)


def test_the_files_that_a_job_imports(project):
    """Not what a package passes on besides, not the registry, not the other prior."""
    script, src = project()
    assert dependencies(script, ["pack.priors.gmm"], src=src) == [
        "_helper.py",
        "job.py",
        "pack/data/read.py",
        "pack/data/table.csv",
        "pack/errors.py",
        "pack/late.py",
        "pack/priors/__init__.py",  # which defines `by_name`
        "pack/priors/base.py",
        "pack/priors/gmm.py",
        "pack/train.py",
    ]


def test_a_name_of_a_lazy_package_is_followed(project):
    script, src = project()
    found = dependencies(script.with_name("other.py"), src=src)
    assert found == ["other.py", "pack/models/vae.py", "pack/plots.py"]


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("scripts/job", "ones", "zeros"),
        ("scripts/_helper", "str(x)", "repr(x)"),
        ("src/pack/train", "SIZE = 3", "SIZE = 4"),
        ("src/pack/train", "size: int", "size: float"),  # a field of a dataclass, maybe
        ("src/pack/train", "raise InputError", "raise KeyError"),
        ("src/pack/train", '"result", file', '"results", file'),  # a file that is written
        ("src/pack/late", "x + n", "x - n"),
        ("src/pack/data/read", "return n", "return -n"),
        ("src/pack/data/__init__", "pack.data.read", "pack.data.fetch"),
        ("src/pack/priors/__init__", "return PRIORS", "return 2 * PRIORS"),
        ("src/pack/priors/gmm", "pass", "size = 1"),
        ("src/pack/errors", "Exception", "ValueError"),
        ("table", "", "1,3\n"),
    ],
)
def test_what_can_change_the_result_changes_the_hash(project, file, old, new):
    assert hashed(project) != hashed(project, file, old, new)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("scripts/job", '"""A job."""', '"""A better job."""'),
        ("scripts/other", "vae", "vae as v"),
        ("src/pack/__init__", "getattr(plots, name)", "None"),
        ("src/pack/train", '"""Train."""', '"""Train it."""'),
        ("src/pack/train", "  # only when needed", ""),
        ("src/pack/train", "SIZE = 3", "SIZE  =  3\n"),
        ("src/pack/train", 'f"no {x}"', 'f"there is no {x}", x'),
        ("src/pack/train", '"training %s", x', '"training"'),
        ("src/pack/train", '    print("trained")\n', ""),
        ("src/pack/train", "x: Typed", "x"),
        ("src/pack/train", "-> Typed", "-> Typed | None"),
        ("src/pack/train", "import Typed", "import Typed, More"),
        ("src/pack/data/__init__", "fetch import fetch", "fetch import fetch as get"),
        ("src/pack/data/fetch", "return 1", "return 2"),
        ("src/pack/priors/records", "'gmm': gmm", "'gmm': gmm, 'vmm': vmm"),
        ("src/pack/priors/vmm", "pass", "size = 1"),
        ("src/pack/progress", "return x", "return -x"),
        ("src/pack/unused", "int", "float"),
    ],
)
def test_anything_else_does_not(project, file, old, new):
    assert hashed(project) == hashed(project, file, old, new)


def test_modules_and_files_that_are_named(project, tmp_path):
    """Also those that are left out where they are only imported."""
    script, src = project()
    plain = code_hash(script, src=src)
    assert plain != code_hash(script, ["pack.priors.vmm"], src=src)
    assert "pack/priors/records.py" in dependencies(script, ["pack.priors.records"], src=src)
    captions = tmp_path / "captions.rst"
    captions.write_text("A figure.")
    assert plain != code_hash(script, files=[captions], src=src)
    assert "captions.rst" in dependencies(script, files=[captions], src=src)


@pytest.mark.parametrize(
    "named", [{"modules": ["pack.priors.gnm"]}, {"modules": ["numpy"]}, {"files": ["absent.rst"]}]
)
def test_a_named_one_that_is_not_there(project, named):
    script, src = project()
    with pytest.raises(LookupError, match="there is no"):
        code_hash(script, **named, src=src)
    with pytest.raises(LookupError, match="there is no"):
        code_hash(script.with_name("jbo.py"), src=src)


# ------------------------------------------------------------------------------ our own package


def parts(script: str, *modules: str) -> set[str]:
    """Return the folders and files of the package (without suffix) that a script depends on."""
    paths = map(Path, dependencies(SCRIPTS / script, modules))
    return {part for path in paths for part in path.with_suffix("").parts}


def test_training_depends_on_what_it_is_made_by():
    found = parts("train.py", "vmm.benchmark.ours")
    assert {"train", "_script", "training", "containers", "io", "products"} <= found
    assert not found & {"plots", "figures", "paper", "tables", "report", "cli", "api", "testing"}
    assert not found & {"metrics", "evaluation", "config", "progress", "records"}


def test_training_in_a_model_of_scvi_tools_depends_on_how_it_takes_a_prior():
    method = METHODS["cells"]["vmm"]
    found = parts("train.py", *method.of_library("TOTALVI").depends_on)
    assert {"plan", "latents", "module", "mixture", "baselines", "scvi_tools"} <= found
    assert not found & {"ours", "vade", "image_vae", "paper", "cli"}


def test_training_a_vmm_depends_on_its_prior_and_model_alone():
    method = METHODS["cells"]["vmm"]
    found = parts("train.py", *method.depends_on)
    assert {"mixture", "count_vae", "networks"} <= found
    assert not found & {"vade", "vampprior", "image_vae", "scvi_tools", "baselines", "scvi"}


def test_scores_do_not_depend_on_training():
    for script in ("evaluate_clustering.py", "evaluate_integration.py"):
        assert not parts(script) & {"training", "models", "priors", "networks"}


@pytest.mark.parametrize(
    "path",
    sorted(set(SRC.rglob("__init__.py")) - set(SRC.glob("vmm/testing/*"))),
    ids=lambda path: path.parent.name,
)
def test_packages_do_nothing_when_they_are_imported(path):
    """Else what a job's result depends on would not be the files that its names come from."""
    quiet = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.FunctionDef, ast.ClassDef)
    first, *others = ast.parse(path.read_text()).body
    assert isinstance(first, ast.Expr), "a docstring"
    for statement in others:
        type_checking = isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.dump(statement)
        assert isinstance(statement, quiet) or type_checking, ast.unparse(statement)


def test_the_list_for_people():
    command = [sys.executable, "-m", "vmm.benchmark.provenance", "train.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == dependencies(SCRIPTS / "train.py")
    asked = "import sys, vmm.benchmark.provenance; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert not {"torch", "numpy", "pandas", "yaml"} & set(done.stdout.split())


# The user's own files -----------------------------------------------------------------------------


def test_a_file_is_known_by_what_is_in_it(tmp_path, monkeypatch):
    """Whatever its time says; and it is read once as long as nothing happened to it."""
    monkeypatch.setattr(provenance, "SETTLED_SECONDS", -1)
    file, kept = tmp_path / "cells.h5ad", tmp_path / "kept" / "sums.json"
    file.write_bytes(b"one")
    one, two = (hashlib.sha256(content).hexdigest() for content in (b"one", b"two"))
    assert content_hashes([file], kept) == {str(file): one}
    with monkeypatch.context() as no_reading:
        no_reading.setattr("vmm.data.verification.digest", None)
        assert content_hashes([file], kept) == {str(file): one}
    stat = file.stat()
    file.write_bytes(b"two")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert content_hashes([file], kept) == {str(file): two}


def test_a_folder_is_known_by_what_is_in_its_files(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "SETTLED_SECONDS", -1)
    store, kept, sums = tmp_path / "my.zarr", tmp_path / "sums.json", []
    (store / "X").mkdir(parents=True)
    for place, content in (("X/0", "one"), ("X/0", "two"), ("X/1", "one"), ("X/0", "one")):
        (store / place).write_text(content)
        sums.append(content_hashes([store], kept)[str(store)])
        assert content_hashes([store], kept)[str(store)] == sums[-1]
    (store / "X" / "1").unlink()
    assert content_hashes([store], kept)[str(store)] == sums[0] and len(set(sums)) == 4


def test_a_link_is_known_by_what_it_leads_to(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
    link, kept = tmp_path / "cells.h5ad", tmp_path / "sums.json"
    sums = []
    for name in ("one", "two", "one"):
        link.unlink(missing_ok=True)
        link.symlink_to(name)
        sums.append(content_hashes([link], kept)[str(link)])
    assert sums == [hashlib.sha256(name.encode()).hexdigest() for name in ("one", "two", "one")]


def test_a_file_that_was_changed_just_now_is_read_again(tmp_path):
    """Its next change may have the same time."""
    file, kept = tmp_path / "cells.h5ad", tmp_path / "sums.json"
    file.write_text("one")
    content_hashes([file], kept)
    assert not kept.exists()


def test_what_cannot_be_read_or_kept_does_no_harm(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "SETTLED_SECONDS", -1)
    file = tmp_path / "cells.h5ad"
    file.write_text("one")
    assert content_hashes([tmp_path / "none"], tmp_path / "sums.json") == {
        str(tmp_path / "none"): ""
    }
    for content in ("[]", "{", "\0"):
        (tmp_path / "sums.json").write_text(content)
        assert content_hashes([file], tmp_path / "sums.json")[str(file)]
    assert content_hashes([file], file / "not" / "a" / "folder")[str(file)]
