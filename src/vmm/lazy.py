"""Things named as text, ``"package.module:name"``, and imported when they are needed.

Records name in this way what they stand for, so that reading a record imports nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def resolve(text: str) -> Any:
    """Return what ``"package.module:name"`` names.

    Raises
    ------
    LookupError
        If there is no such module, or no such name in it.
    """
    module, _, name = text.partition(":")
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name):
            raise  # a library that is not installed
        raise LookupError(f"{text}: there is no module {module}") from error
    except AttributeError as error:
        raise LookupError(f"{text}: {module} has no {name}") from error


def exports(package: str, names: Mapping[str, str]) -> tuple[Callable[[str], Any], list[str]]:
    """Return ``__getattr__`` and ``__all__`` of a package that imports its names when asked for.

    Parameters
    ----------
    package : str
        Its ``__name__``.
    names : mapping
        Public name to ``"package.module:name"``.
    """

    def getattr_of_package(name: str) -> Any:
        if name in names:
            return resolve(names[name])
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return getattr_of_package, sorted(names)
