"""What the code never does: unpickle, evaluate, unpack or hand to a shell what others wrote."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON = [path for part in ("src", "workflow") for path in sorted((ROOT / part).rglob("*.py"))]
RULES = [ROOT / "Snakefile", *sorted((ROOT / "workflow" / "rules").glob("*.smk"))]

FORBIDDEN = {
    "eval", "exec", "compile", "__import__",
    "os.system", "os.popen", "os.exec", "os.spawn", "subprocess.getoutput",
    "pickle.load", "pickle.loads", "pickle.Unpickler", "cPickle.load", "dill.load", "dill.loads",
    "joblib.load", "marshal.load", "marshal.loads", "shelve.open", "read_pickle",
    "yaml.unsafe_load", "yaml.full_load", "yaml.load_all",
    "shutil.unpack_archive", "extractall", "extract",
    "tempfile.mktemp",
}  # fmt: skip
"""Calls that no argument makes safe, by their last one or two names."""

PERMITTED = {("src/vmm/data/pbmc.py", "Unpickler")}
"""The restricted unpickler, of a file whose checksum was right: ``tests/data/test_pbmc.py``."""


def name_of(call: ast.Call) -> str:
    """Return what is called, such as ``np.load``."""
    names, node = [], call.func
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    names.append(node.id if isinstance(node, ast.Name) else "")
    return ".".join(reversed(names))


def unsafe(source: str) -> list[str]:
    """Return the calls in a source that could run or write what a file says."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module in ("pickle", "marshal", "os"):
            found += [f"from {node.module} import {a.name}" for a in node.names if a.name in
                      ("load", "loads", "Unpickler", "system", "popen")]  # fmt: skip
        if not isinstance(node, ast.Call):
            continue
        name = name_of(node)
        options = {word.arg: ast.unparse(word.value) for word in node.keywords}
        last = name.rpartition(".")[2]
        if name in FORBIDDEN or ("." in name and last in FORBIDDEN - {"compile", "eval"}):
            found.append(name)
        elif name in ("torch.load",) and options.get("weights_only") != "True":
            found.append("torch.load without weights_only=True")
        elif name in ("np.load", "numpy.load") and options.get("allow_pickle") != "False":
            found.append("np.load without allow_pickle=False")
        elif name == "yaml.load" and "Loader" not in [ast.unparse(a) for a in node.args]:
            found.append("yaml.load")
        elif options.get("shell", "False") != "False":
            found.append("shell=True")
        elif last == "Environment" and options.get("autoescape") != "True":
            found.append("Environment without autoescape=True")
    return found


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_call_is_unsafe(path):
    where = str(path.relative_to(ROOT))
    found = [name for name in unsafe(path.read_text()) if (where, name) not in PERMITTED]
    # Captions are templates of ours; what they give is escaped as a whole.
    assert found == (["Environment without autoescape=True"] if path.name == "contents.py" else [])


@pytest.mark.parametrize(
    "source",
    [
        "eval(x)", "exec(x)", "__import__(x)", "os.system(x)", "os.popen(x)",
        "pickle.load(f)", "pickle.loads(b)", "pickle.Unpickler(f).load()", "pd.read_pickle(p)",
        "from pickle import loads", "joblib.load(p)", "yaml.load(x, yaml.Loader)", "yaml.load(x)",
        "yaml.unsafe_load(x)", "torch.load(p)", "torch.load(p, weights_only=False)", "np.load(p)",
        "np.load(p, allow_pickle=True)", "numpy.load(p)", "tarfile.open(p).extractall(d)",
        "tar.extract(m, d)", "archive.extractall()", "shutil.unpack_archive(p)",
        "subprocess.run(x, shell=True)", "subprocess.run(x, shell=flag)", "Environment()",
    ],
)  # fmt: skip
def test_what_is_unsafe_is_found(source):
    assert unsafe(source)


@pytest.mark.parametrize(
    "source",
    [
        "torch.load(p, weights_only=True)", "np.load(p, allow_pickle=False)", "model.eval()",
        "yaml.safe_load(x)", "yaml.load(x, Loader)", "subprocess.run(words)", "re.compile(x)",
        "tar.extractfile(m)", "from pickle import UnpicklingError", "Environment(autoescape=True)",
    ],
)  # fmt: skip
def test_what_is_safe_passes(source):
    assert unsafe(source) == []


def test_the_loader_of_yaml_builds_nothing_but_plain_values():
    import yaml

    from vmm.benchmark.config import Loader

    assert issubclass(Loader, yaml.SafeLoader)
    assert Loader.yaml_constructors == yaml.SafeLoader.yaml_constructors


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.name)
def test_rules_run_scripts_and_no_shell(path):
    """So that no value of a configuration is ever a word of a command."""
    text = path.read_text()
    assert not re.search(r"^\s*(shell|run):|\bshell\(|\bos\.system|\bsubprocess\b", text, re.M)
    scripts = re.findall(r'script:\s+"([^"]+)"', text)
    assert all(re.fullmatch(r"\.\./scripts/\w+\.py", script) for script in scripts)


def test_templates_of_pages_mark_as_safe_only_what_is_ours():
    """All else is escaped; the tables come escaped from templates of their own."""
    pages = sorted((ROOT / "src").rglob("*.jinja"))
    marked = {
        m for page in pages for m in re.findall(r"\{\{\s*([^}]*?)\s*\|\s*safe", page.read_text())
    }
    assert len(pages) == 2 and marked <= {"css"}
