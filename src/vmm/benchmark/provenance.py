"""What a job's result depends on: the hash of the files that make it.

1. It starts at the job's script, and at the modules that the rule names because the job finds them
   by a name: what trains it, its model, its prior, its data set, its metrics.
2. It covers every file of the package that these import, at any depth, also inside functions; a
   name that an ``__init__.py`` passes on is followed to the file that defines it.
3. ``records.py`` and ``progress.py`` are left out: labels reach a job as its parameters, and
   progress is words.
4. Files are compared without comments, layout, docstrings, annotations of functions, and messages:
   what is raised, warned, logged or printed.
5. A file beside a module, which the module names (``"published.csv"``), is covered too.

The user's own files are compared by what is in them (:func:`content_hashes`), never by their times.

``python -m vmm.benchmark.provenance train.py vmm.benchmark.ours vmm.models.count_vae
vmm.priors.mixture`` lists the files of training scVI with the GMM or the VMM. Nothing beyond the
standard library is imported: Snakemake asks at every start.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import re
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from vmm.errors import InputError
from vmm.io import read_json, write_json

SRC = Path(__file__).resolve().parents[2]
LEFT_OUT = {"records.py", "progress.py"}
MESSAGE = re.compile(r"print|warnings\.warn|log\.(debug|info|warning|error|exception)")
SETTLED_SECONDS = 2
"""Age from which on a change of a file surely changes its time: file systems count coarsely."""
MOST_KEPT = 1000
FILE_NAME = re.compile(r"[\w-]+(\.\w+)+")


class Import(NamedTuple):
    """``from module import name``, or ``import module`` where there is no name."""

    module: str
    name: str = ""


def code_hash(
    script: str | Path,
    modules: Iterable[str] = (),
    files: Iterable[str | Path] = (),
    src: Path = SRC,
) -> str:
    """Return a hash of the files that a job's result depends on.

    Parameters
    ----------
    script : path
        The script that the job runs.
    modules : iterable of str
        Modules that the job imports by a name that it is given, such as ``vmm.priors.mixture``.
    files : iterable of path
        Further files, each covered byte for byte.
    src : path
        The folder that holds the package.

    Raises
    ------
    LookupError
        If the script, a module or a file is not there.
    """
    covered = _covered(Path(script).resolve(), tuple(modules), tuple(files), src)
    lines = (f"{name} {content}\n" for name, content in sorted(covered))
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:16]


def content_hashes(files: Iterable[str | Path], kept: str | Path | None = None) -> dict[str, str]:
    """Return the SHA-256 of what is in each file or folder, empty where it cannot be read.

    Parameters
    ----------
    files : iterable of path
        Links are followed.
    kept : path, optional
        Where sums are kept, so that a large file is read once and not at each start. A sum counts
        as long as size, inode and the system's own time of change (which ``mv``, ``cp -p``,
        ``rsync`` and ``touch`` cannot set) are the same.
    """
    from vmm.data.verification import digest, files_in

    known = _kept(kept)
    hashes, states = {}, {}
    for path in map(Path, files):
        try:
            stats = [file.stat() for file in files_in(path)]
            state = " ".join(f"{of.st_size} {of.st_ino} {of.st_ctime_ns}" for of in stats)
            if path.is_dir():
                state = hashlib.sha256(state.encode()).hexdigest()
            key = f"{path.resolve()} {state}"
            found = known.get(key) or digest(path, "sha256")
        except OSError:  # told when it is read
            hashes[str(path)] = ""
            continue
        hashes[str(path)] = found
        # A file changed just now may change again without another time.
        if time.time() - max((of.st_ctime for of in stats), default=0) > SETTLED_SECONDS:
            states[key] = found
    if kept is not None and not states.items() <= known.items():
        latest = dict(list((known | states).items())[-MOST_KEPT:])
        with suppress(InputError, OSError):  # what is not written is computed again
            write_json(kept, latest)
    return hashes


def _kept(path: str | Path | None) -> dict[str, str]:
    """Return the sums that were kept; none where they cannot be read."""
    known: Any = {}
    if path is not None:
        with suppress(InputError):
            known = read_json(path)
    return known if isinstance(known, dict) else {}


def dependencies(
    script: str | Path,
    modules: Iterable[str] = (),
    files: Iterable[str | Path] = (),
    src: Path = SRC,
) -> list[str]:
    """Return the names of the files that `code_hash` covers, those of the package below `src`."""
    covered = _covered(Path(script).resolve(), tuple(modules), tuple(files), src)
    return sorted(name for name, _ in covered)


@cache
def _covered(
    script: Path, modules: tuple[str, ...], files: tuple[str | Path, ...], src: Path
) -> list[tuple[str, str]]:
    """Return name and hash of each file."""
    roots = (script.parent, src)
    waiting = [script, *(_file_of(module, roots) or Path(module) for module in modules)]
    waiting += map(Path, files)
    for path in waiting:
        if not path.is_file():
            raise LookupError(f"there is no {path}, on which a result depends")
    found: set[Path] = set()
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += _next_to(path, roots)
    return [(_name(path, src), _content(path, src)) for path in found]


def _next_to(path: Path, roots: tuple[Path, ...]) -> Iterator[Path]:
    """Yield the files that a file imports or names."""
    if path.suffix == ".py":
        source = _read(path, roots[-1])
        yield from source.files
        for wanted in source.imports:
            yield from (file for file in _files_of(wanted, roots) if file.name not in LEFT_OUT)


def _files_of(wanted: Import, roots: tuple[Path, ...]) -> list[Path]:
    """Return the file that an import reads: where `wanted.name` is defined, if that can be seen."""
    module, name = wanted
    if name and (file := _file_of(f"{module}.{name}", roots)):
        return [file]
    file = _file_of(module, roots)
    if file is None:
        return []  # another package
    if name and file.name == "__init__.py" and (passed := _read(file, roots[-1]).passed_on(name)):
        return [path for each in passed for path in _files_of(each, roots)]
    return [file]


@cache
def _file_of(module: str, roots: tuple[Path, ...]) -> Path | None:
    """Return the file of a module, None for those of other packages."""
    for root in roots:
        stem = root.joinpath(*module.split("."))
        for path in (stem.with_name(f"{stem.name}.py"), stem / "__init__.py"):
            if path.is_file():
                return path
    return None


def _name(path: Path, src: Path) -> str:
    return str(path.relative_to(src)) if path.is_relative_to(src) else path.name


@cache
def _content(path: Path, src: Path) -> str:
    data = _read(path, src).text.encode() if path.suffix == ".py" else path.read_bytes()
    return hashlib.sha256(data).hexdigest()


@cache
def _read(path: Path, src: Path) -> Source:
    return Source(path, src)


class Source(ast.NodeTransformer):
    """A file of Python code: what it does, without words for people, and what it imports.

    Attributes
    ----------
    text : str
        What is compared.
    imports : list of Import
    files : list of path
        Files beside it that it names.
    """

    def __init__(self, path: Path, src: Path):
        self.path, self.src = path, src
        self.imports: list[Import] = []
        self.files: list[Path] = []
        self._passed_on: dict[str, list[Import]] = {}
        self.text = ast.unparse(self.visit(ast.parse(path.read_text())))

    def passed_on(self, name: str) -> list[Import]:
        """Return where a name comes from, by the imports of this file; empty if it is its own."""
        return self._passed_on.get(name, [])

    def visit_Import(self, node: ast.Import) -> ast.AST:
        """Note the modules."""
        self.imports += [Import(alias.name) for alias in node.names]
        return node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        """Note what the names are."""
        module = node.module or ""
        if node.level:
            package = self.path.parents[node.level - 1].relative_to(self.src)
            module = ".".join([*package.parts, *filter(None, [module])])
        for alias in node.names:
            source = Import(module, alias.name)
            self.imports.append(source)
            self._passed_on.setdefault(alias.asname or alias.name, []).append(source)
        return node

    def visit_If(self, node: ast.If) -> ast.AST | None:
        """Drop ``if TYPE_CHECKING``, which says at most what a lazy package passes on."""
        imports = list(self.imports)
        self.generic_visit(node)
        if node.orelse or not ast.unparse(node.test).endswith("TYPE_CHECKING"):
            return node
        self.imports = imports
        return None

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        """Drop docstrings and messages, but not what is printed to a file."""
        value = node.value
        if isinstance(value, ast.Call) and MESSAGE.fullmatch(ast.unparse(value.func)):
            to_file = any(keyword.arg == "file" for keyword in value.keywords)
            return self.generic_visit(node) if to_file else None
        return None if isinstance(value, ast.Constant) else self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        """Drop what an error says."""
        if isinstance(node.exc, ast.Call):
            node.exc = node.exc.func
        return self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Drop what a function returns, as it is annotated."""
        node.returns = None
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        """Drop an argument's annotation."""
        node.annotation = None
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        """Note a file that lies beside this one."""
        if isinstance(node.value, str) and FILE_NAME.fullmatch(node.value):
            beside = self.path.with_name(node.value)
            if beside.is_file():
                self.files.append(beside)
        return node


def main(arguments: list[str] | None = None) -> int:
    """List the files that a job's result depends on."""
    parser = argparse.ArgumentParser(
        prog="python -m vmm.benchmark.provenance", description=main.__doc__
    )
    parser.add_argument("script", help="its script in workflow/scripts, such as train.py")
    parser.add_argument("module", nargs="*", help="modules that the job finds by a name")
    options = parser.parse_args(arguments)
    try:
        found = dependencies(SRC.parent / "workflow" / "scripts" / options.script, options.module)
    except LookupError as error:
        print(error.args[0], file=sys.stderr)
        return 1
    print(*found, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
