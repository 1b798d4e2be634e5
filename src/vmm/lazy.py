"""Things named as text, ``"package.module:name"``, and imported when they are needed.

Records name in this way what they stand for, so that reading a record imports nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Protocol, TypeVar


class Named(Protocol):
    """What has a name."""

    @property
    def name(self) -> str:
        """Its name."""


Record = TypeVar("Record", bound=Named)


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


def without_torchvision(module: str) -> ModuleType:
    """Import a module that asks for torchvision though what we use of it does not.

    Where torchvision is absent, a module with nothing but names of types stands in for it during
    the import and is removed again, so that libraries which look for torchvision later find it
    absent, as it is.
    """
    if module in sys.modules or "torchvision" in sys.modules or find_spec("torchvision"):
        return import_module(module)
    import_module("torch")
    stand_ins = ("torchvision", "torchvision.models", "torchvision.models._api")
    for name in stand_ins:
        sys.modules[name] = ModuleType(name)
        sys.modules[name].__spec__ = ModuleSpec(name, None)
    vars(sys.modules[stand_ins[-1]]).update(Weights=object, WeightsEnum=object)
    try:
        return import_module(module)
    finally:
        for name in stand_ins:
            del sys.modules[name]


def by_name(records: Iterable[Record]) -> dict[str, Record]:
    """Return records by their names.

    Raises
    ------
    ValueError
        If two have the same: one would take the other's place, unsaid.
    """
    found: dict[str, Record] = {}
    for record in records:
        if record.name in found:
            raise ValueError(
                f"two records are called {record.name!r}, {found[record.name]} and {record}; "
                "give one of them another name"
            )
        found[record.name] = record
    return found


def exports(
    package: str, names: Mapping[str, str], also: Iterable[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return ``__getattr__``, ``__dir__`` and ``__all__`` of a package that imports when asked.

    Parameters
    ----------
    package : str
        Its ``__name__``.
    names : mapping
        Public name to ``"package.module:name"``.
    also : iterable of str
        Public names that the package defines itself.
    """

    def getattr_of_package(name: str) -> Any:
        if name in names:
            return resolve(names[name])
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    public = sorted([*names, *also])
    return getattr_of_package, lambda: public, public
