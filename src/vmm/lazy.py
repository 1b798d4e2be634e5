"""Functions and classes that are named by text and imported when they are first needed.

Records name what they are made by: a list of records is read without numpy, torch or pandas, and a
job imports what its own record names, nothing of the others.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


def resolve(name: str) -> Any:
    """Return what a text such as ``"vmm.data.sources.mnist:read"`` names.

    Parameters
    ----------
    name
        Module and attribute, with a colon between them.

    Raises
    ------
    ValueError
        If `name` is not of this form.
    ModuleNotFoundError, AttributeError
        If there is no such module, or nothing of this name in it.
    """
    module, _, attribute = name.partition(":")
    if not module or not attribute.isidentifier():
        raise ValueError(f"{name!r} must be a module and a name in it, such as 'vmm.io:read_json'")
    return getattr(import_module(module), attribute)
