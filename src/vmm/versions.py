"""The name of this package on the package index, and what is installed."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

DISTRIBUTION = "vampprior-mixture"
"""What ``pip`` calls this package: ``vmm`` on the package index is somebody else's."""

INSTALL_API = f"install {DISTRIBUTION} with its extra 'api', such as by pip install '.[api]'"
"""For whoever lacks what the model for single-cell data needs."""


def installed(*packages: str) -> dict[str, str]:
    """Return the versions of Python, of this package as "vmm", and of these that are installed."""
    found = {"python": platform.python_version()}
    for name, distribution in [("vmm", DISTRIBUTION), *((name, name) for name in packages)]:
        try:
            found[name] = version(distribution)
        except PackageNotFoundError:  # such as vmm, where its source is used as it is
            continue
    return found
