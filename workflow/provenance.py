"""Which source code a result depends on: a hash of the functions that it is made by.

A rule names the functions of the package that it calls; the hash covers these, whatever they
refer to (functions, classes, constants, of any module of the package), and nothing else.
Docstrings, comments and layout do not count. So editing a function reruns what depends on it.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


class Module:
    """What a module defines at its top level.

    Attributes
    ----------
    definitions : dict
        Name to the statements that define it.
    imports : dict
        Name to (module, name in it); the latter is None where the module itself is imported.
    effects : list
        Other statements, which run whenever the module is imported.
    """

    def __init__(self, name: str, path: Path):
        self.name = name
        self.definitions: dict[str, list[ast.stmt]] = {}
        self.imports: dict[str, tuple[str, str | None]] = {}
        self.effects: list[ast.stmt] = []
        is_package = path.name == "__init__.py"
        self.package = name if is_package else name.rpartition(".")[0]
        for statement in ast.parse(path.read_text()).body:
            self._add(statement)

    def _add(self, statement: ast.stmt) -> None:
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            self.imports |= self.imported(statement)
        elif isinstance(statement, FUNCTION):
            self.definitions.setdefault(statement.name, []).append(statement)
        elif isinstance(statement, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            names = [n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)]
            for name in names:
                self.definitions.setdefault(name, []).append(statement)
        elif not is_docstring(statement) and not is_type_checking(statement):
            self.effects.append(statement)

    def has(self, name: str) -> bool:
        """Whether a name is defined here or imported, other than as a module of this package."""
        own_module = (self.name, name)
        return name in self.definitions or self.imports.get(name, own_module) != own_module

    def imported(self, statement: ast.Import | ast.ImportFrom) -> dict[str, tuple[str, str | None]]:
        """Return what names an import binds."""
        if isinstance(statement, ast.Import):
            return {a.asname or a.name: (a.name, None) for a in statement.names}
        source = statement.module or ""
        if statement.level:
            parts = self.package.split(".")
            base = ".".join(parts[: len(parts) - statement.level + 1])
            source = f"{base}.{source}".rstrip(".")
        return {a.asname or a.name: (source, a.name) for a in statement.names}


class Sources:
    """The modules of the packages in a folder.

    Parameters
    ----------
    root : path
        The folder that holds the packages (``src``).
    """

    def __init__(self, root: str | Path):
        self.root = Path(root)
        self.modules: dict[str, Module] = {}

    @cached_property
    def packages(self) -> set[str]:
        """Names of the packages."""
        return {path.parent.name for path in self.root.glob("*/__init__.py")}

    def module(self, name: str) -> Module | None:
        """Return a module of these packages; None for any other name."""
        if name.partition(".")[0] not in self.packages:
            return None
        if name not in self.modules:
            stem = self.root.joinpath(*name.split("."))
            files = [p for p in (stem.with_suffix(".py"), stem / "__init__.py") if p.is_file()]
            if not files:
                return None
            self.modules[name] = Module(name, files[0])
        return self.modules[name]

    def hash(self, *names: str) -> str:
        """Return a hash of the code that these functions depend on.

        Parameters
        ----------
        *names : str
            Such as ``vmm.benchmark.jobs.train``.

        Raises
        ------
        LookupError
            If a name is not defined.
        """
        texts = {key: text for name in names for key, text in self._closure(name).items()}
        digest = hashlib.sha256()
        for key in sorted(texts):
            digest.update(f"{key}\n{texts[key]}\n".encode())
        return digest.hexdigest()[:16]

    def dependencies(self, *names: str) -> list[str]:
        """Return the names of all definitions that the hash of `names` covers."""
        return sorted({key for name in names for key in self._closure(name)})

    def _closure(self, name: str) -> dict[str, str]:
        module, _, symbol = name.rpartition(".")
        found: dict[str, str] = {}
        if self._find(module, symbol) is None:
            raise LookupError(f"{name} is not defined in {self.root}")
        waiting = [(module, symbol)]
        while waiting:
            at = self._find(*waiting.pop())
            if at is None:
                continue
            where, what = at
            key = f"{where.name}.{what}"
            if key in found:
                continue
            statements = where.definitions[what] + where.effects
            found[key] = "\n".join(normalised(statement) for statement in statements)
            for statement in statements:
                waiting += self._references(where, statement)
        return found

    def _find(self, module_name: str, symbol: str) -> tuple[Module, str] | None:
        """Return the module that defines a symbol, through any number of re-exports."""
        module = self.module(module_name)
        if module is None:
            return None
        if symbol in module.definitions:
            return module, symbol
        source, name = module.imports.get(symbol, ("", None))
        return self._find(source, name) if name else None

    def _references(self, module: Module, statement: ast.stmt) -> Iterator[tuple[str, str]]:
        """Yield (module, symbol) of everything in these packages that a statement mentions."""
        bound = dict(module.imports)
        nodes = list(ast.walk(statement))
        for node in nodes:
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                bound |= module.imported(node)
        for node in nodes:
            if not isinstance(node, (ast.Name, ast.Attribute)):
                continue
            name = ast.unparse(node)
            if name in module.definitions:
                yield module.name, name
            if name in bound:
                yield from self._everything(*bound[name])

    def _everything(self, source: str, name: str | None) -> Iterator[tuple[str, str]]:
        """Yield a symbol, or all symbols where the name is that of a module."""
        package = self.module(source)
        if package is not None and name is not None and package.has(name):
            yield source, name
            return
        whole = self.module(source if name is None else f"{source}.{name}")
        if whole is None:
            if name is not None:
                yield source, name
            return
        for symbol in whole.definitions:
            yield whole.name, symbol


def is_docstring(node: ast.stmt) -> bool:
    """Whether a statement is a text and nothing else."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def is_type_checking(node: ast.stmt) -> bool:
    """Whether a statement is ``if TYPE_CHECKING:``."""
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def normalised(statement: ast.stmt) -> str:
    """Return a statement's source without docstrings, comments and layout."""
    copy = ast.parse(ast.unparse(statement))
    for node in ast.walk(copy):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [s for s in body if not is_docstring(s)] or [ast.Pass()]
    return ast.unparse(copy)
