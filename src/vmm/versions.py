"""The name of this package on the package index, and what is installed."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The repository, if the package is used from one."""
DISTRIBUTION = "vampprior-mixture"
"""What ``pip`` calls this package: ``vmm`` on the package index is somebody else's."""

INSTALL_API = f"install {DISTRIBUTION} with its extra 'api', such as by pip install '.[api]'"
"""For whoever lacks what the model for single-cell data needs."""


def installed(*packages: str) -> dict[str, str]:
    """Return the versions of Python, of this package as "vmm", and of these that are installed.

    PyTorch's names its build, such as 2.13.0+cu130: numbers depend on it as on the version. That of
    this package, in a clone of its repository, names the commit, such as 0.2.0+g1437c20, and
    whether what makes numbers is different from it: 0.2.0+g1437c20.changed.
    """
    found = {"python": platform.python_version()}
    for name, distribution in [("vmm", DISTRIBUTION), *((name, name) for name in packages)]:
        try:
            found[name] = version(distribution)
        except PackageNotFoundError:  # such as vmm, where its source is used as it is
            continue
    if "vmm" in found:
        found["vmm"] += "".join(f"+g{name}" for name in [commit()] if name)
    if "torch" in found:
        found["torch"] = _build_of_torch() or found["torch"]
    return found


@cache
def commit(*more: str) -> str:
    """Return the commit of the clone that this package is used in, "" where it is in none.

    It ends in ``.changed`` if ``src``, ``workflow`` or `more` have what is not in the commit.
    """

    def git(*words: str) -> str:
        command = ["git", "--no-optional-locks", "-C", str(ROOT), *words]  # jobs run side by side
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()

    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        return ""
    name = git("rev-parse", "--short", "HEAD")  # "" where git refuses: another user's clone
    changed = name and git("status", "--porcelain", "--", "src", "workflow", *more)
    return name + (".changed" if changed else "")


def unmet(package: str, least: str) -> str | None:
    """Return what there is instead, where a package is not here in this version or a newer one.

    Such as "1.4.2 is installed", where 1.5 is asked for.
    """
    found = installed(package).get(package)
    if found is None:
        return "it is not installed"
    numbers = [[int(n) for n in re.findall(r"\d+", text)[:3]] for text in (found, least)]
    return f"{found} is installed" if numbers[0] < numbers[1] else None


def _build_of_torch() -> str | None:
    """Return ``torch.__version__``, without the seconds that importing torch takes.

    What the distribution says of itself lacks the build where it comes from PyPI.
    """
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    try:
        text = Path(spec.origin).with_name("version.py").read_text()
    except OSError:
        return None
    named = re.search(r"^__version__ = '(.+)'", text, re.MULTILINE)
    return named[1] if named else None
