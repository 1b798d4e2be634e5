"""The command line: ``vmm fit``, ``vmm cite``. Needs nothing but the standard library to answer."""

from __future__ import annotations

import argparse
import difflib
import re
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from vmm.cli.citation import CITATION
from vmm.cli.words import in_options
from vmm.device import DEVICES
from vmm.errors import InputError
from vmm.priors.records import clustering_priors
from vmm.versions import INSTALL_API

EXAMPLES = """\
examples:
  vmm fit my.h5ad --batch-key donor --output out/
  vmm fit my.h5ad --batch-key donor --label-key cell_type --layer counts --output out/
  vmm fit my.h5ad --batch-key donor --seeds 10 --output out/
  vmm fit atlas.h5ad --batch-key sample --n-latent 30 --n-layers 2 --likelihood nb \\
      --learning-rate 1e-3 --output out/
  vmm cite

The same from Python: vmm.SCVI, with the interface of scvi-tools.
"""
FIT = """\
Integrate and cluster the cells of an .h5ad file, or a modality of an .h5mu file, of raw counts.

Writes to the output folder:
  report.html       the page to open first: figures and a table of the clusters
  <name>_vmm.h5ad   a copy of the file with obs["vmm_cluster"], obs["vmm_probability"],
                    obsm["X_vmm"] and obsm["X_vmm_mde"] added
  cells.csv         cluster, second cluster and their probabilities of each cell
  clusters.csv      size, certainty, markers and batches of each cluster
  tuning.csv        with --tune: what was tried, and why it was chosen or not
  seeds.csv         with --seeds: clusters of each seed, and how well any two agree
  figures/          the figures as PDF, PNG and SVG
  model/            the model, for vmm.SCVI.load
"""


class Parser(argparse.ArgumentParser):
    """Tells a mistake in one sentence, with the option or value that was likely meant."""

    def error(self, message: str) -> NoReturn:
        """Print the sentence and end with status 2."""
        whose = "vmm fit" if message.startswith("unrecognized arguments: -") else self.prog
        print(f"vmm: {message}{_meant(message)}; see {whose} --help.", file=sys.stderr)
        sys.exit(2)


def _meant(message: str) -> str:
    """Return a question that names what is close to the word that a message refuses, if any."""
    option = re.match(r"unrecognized arguments: (-[\w-]+)", message)
    value = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message)
    if option:
        word, known = option[1], [name for action in _all_options() for name in action]
    elif value:
        word, known = value[1], [name.strip("'") for name in value[2].split(", ")]
    else:
        return ""
    close = difflib.get_close_matches(word, known, 1, 0.7)
    return f"; did you mean {close[0]}?" if close else ""


def _all_options() -> list[Sequence[str]]:
    fit = argparse.ArgumentParser()
    _fit_arguments(fit)
    return [action.option_strings for action in fit._actions]


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    raw = argparse.RawDescriptionHelpFormatter
    main = Parser(
        "vmm",
        description="The VampPrior Mixture Model: integrate and cluster single cells in one model.",
        epilog=EXAMPLES,
        formatter_class=raw,
    )
    main.add_argument("--version", action="store_true", help="print the version and exit")
    commands = main.add_subparsers(dest="command", metavar="command")
    fit = commands.add_parser(
        "fit",
        help="integrate and cluster the cells of an .h5ad file",
        description=FIT,
        epilog=EXAMPLES,
        formatter_class=raw,
    )
    _fit_arguments(fit)
    commands.add_parser("cite", help="print what to cite, with BibTeX")
    return main


def _fit_arguments(fit: argparse.ArgumentParser) -> None:
    data = fit.add_argument_group("data")
    data.add_argument("path", help=".h5ad or .h5mu file, or zarr store of them, with raw counts")
    data.add_argument("--output", "-o", required=True, metavar="DIR", help="folder to write to")
    data.add_argument("--batch-key", metavar="COLUMN", help="column of obs with the batches")
    data.add_argument(
        "--label-key",
        metavar="COLUMN",
        help="column of obs with known cell types, to compare clusters with; training ignores it",
    )
    for kind, what in (("categorical", "names"), ("continuous", "numbers of the order of 1")):
        data.add_argument(
            f"--{kind}-covariate-key",
            action="append",
            metavar="COLUMN",
            help=f"column of obs with {what} to correct for beside the batch; may be given again",
        )
    data.add_argument(
        "--size-factor-key",
        metavar="COLUMN",
        help="column of obs with size factors (default: cells are scaled by their counts)",
    )
    data.add_argument(
        "--modality", metavar="NAME", help="of an .h5mu file (default: the only one, or rna)"
    )
    data.add_argument("--layer", help="layer with raw counts (default: X); raw is raw.X")
    data.add_argument(
        "--round",
        action="store_true",
        help="round corrected or estimated counts (SoupX, salmon) to the nearest whole number",
    )
    data.add_argument(
        "--n-top-genes",
        type=_top_genes,
        default=2000,
        metavar="N",
        help="train on the N most variable genes (default: 2000; 0: on all)",
    )
    data.add_argument(
        "--without-counts",
        action="store_true",
        help="leave the counts and all other matrices out of the .h5ad: obs, var and obsm alone",
    )
    data.add_argument("--overwrite", action="store_true", help="write to a folder that has files")
    model = fit.add_argument_group("model")
    model.add_argument("--prior", choices=clustering_priors("cells"), default="vmm")
    model.add_argument("--likelihood", choices=["zinb", "nb", "poisson"], default="zinb")
    model.add_argument(
        "--dispersion",
        choices=["gene", "gene-batch"],
        default="gene",
        help="of the counts: one for each gene, or one in each batch (default: gene)",
    )
    model.add_argument(
        "--no-encode-covariates",
        action="store_true",
        help="tell batch and covariates to the decoder only",
    )
    _number(model, "--n-latent", 10, _whole(1), "dimension of the embedding")
    _number(model, "--n-layers", 1, _whole(1), "hidden layers of encoder and decoder")
    _number(model, "--n-hidden", 128, _whole(1), "their size")
    _number(model, "--n-components", 100, _whole(1), "the most clusters that there can be")
    training = fit.add_argument_group("training")
    _number(training, "--learning-rate", 4e-4, _positive, "of the networks")
    _number(
        training, "--prior-learning-ratio", 5.0, _positive,
        "learning rate of the prior relative to the networks'; larger gives fewer clusters",
    )  # fmt: skip
    _number(training, "--batch-size", 128, _whole(2), "larger gives more clusters")
    training.add_argument(
        "--tune",
        action="store_true",
        help="choose both by likelihood and stability over seeds, without labels; takes long",
    )
    _number(training, "--max-epochs", 10_000, _whole(1), "the most epochs")
    _number(training, "--patience", 100, _whole(1), "stop after so many epochs without progress")
    _number(training, "--seed", 0, _whole(0, 2**32 - 1), "same seed, same result")
    _number(
        training, "--seeds", 0, _seeds,
        "train anew with N other seeds, all at once, and say which clusters come back",
    )  # fmt: skip
    training.add_argument("--device", choices=DEVICES, default="auto", help="default: a GPU if any")
    training.add_argument(
        "--precision",
        choices=["float32", "tf32", "bf16"],
        default="float32",
        help="of the networks' matrix products on a GPU (default: float32)",
    )
    training.add_argument(
        "--cuda-graph",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="replay a recorded training step on a GPU, several times faster (default: yes)",
    )
    _number(
        training, "--sleep-below", 0.1, _part,
        "leave out components that have less than this part of one cell, until they are wanted; "
        "0: compute all",
    )  # fmt: skip
    _number(
        training, "--threads", 1, _whole(1, 1024), "CPU threads; networks this small gain little"
    )


def _number(group, option: str, default, kind, text: str) -> None:
    group.add_argument(
        option, type=kind, default=default, metavar="N", help=f"{text} (default: {default})"
    )


def _whole(least: int, most: int | None = None):
    def convert(text: str) -> int:
        if not re.fullmatch(r"\d{1,20}", text) or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
        if most is not None and int(text) > most:
            raise argparse.ArgumentTypeError(f"{text} is more than {most}, the greatest possible")
        return int(text)

    return convert


def _seeds(text: str) -> int:
    if (number := _whole(0, 1000)(text)) == 1:
        raise argparse.ArgumentTypeError(
            "of 1 other seed and the model none can be told to be unusual; give at least 2, or 0"
        )
    return number


def _top_genes(text: str) -> int:
    if (number := _whole(0)(text)) == 1:
        raise argparse.ArgumentTypeError("1 gene tells no cells apart; give at least 2, or 0: all")
    return number


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return value


def _part(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 1.0
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to below 1")
    return value


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, by default the process's own; return the exit status."""
    options = parser().parse_args(arguments)
    if options.version:
        from vmm import __version__

        print(f"vmm {__version__}")
    elif options.command == "cite":
        print(CITATION, end="")
    elif options.command == "fit":
        return _fit(options)
    else:
        parser().print_help()
    return 0


def _check_tuned(options: argparse.Namespace) -> None:
    """Refuse a value for what is to be tuned."""
    fit = argparse.ArgumentParser()
    _fit_arguments(fit)
    keys = ("batch_size", "prior_learning_ratio")
    given = [key for key in keys if getattr(options, key) != fit.get_default(key)]
    if options.tune and given:
        named = " and ".join(f"--{key.replace('_', '-')}" for key in given)
        raise InputError(f"--tune chooses {named}; leave one or the other out")


@contextmanager
def _terminable() -> Iterator[None]:
    """Let a process that is told to end, by a queue perhaps, first remove what is half-written."""

    def end(*_: object) -> None:
        raise SystemExit(128 + signal.SIGTERM)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _fit(options: argparse.Namespace) -> int:
    try:
        from vmm.cli.fit import fit_file

        _check_tuned(options)
        with _terminable():
            return fit_file(options)
    except ModuleNotFoundError as error:
        problem = f"{error.name} is not installed; {INSTALL_API}"
    except InputError as error:
        problem = in_options(str(error)).rstrip(".")
    except (MemoryError, RuntimeError) as error:
        if not re.search(r"alloc|out of memory", str(error)):
            raise
        reason = str(error).partition("\n")[0]
        problem = (
            f"there is too little memory for this model ({reason}); use fewer genes "
            "(--n-top-genes), smaller networks or a smaller --batch-size"
        )
    except OSError as error:  # no space, no permission
        problem = f"{error.filename or options.output}: {error.strerror or error}"
    except KeyboardInterrupt:
        print("\nvmm: interrupted.", file=sys.stderr)
        return 130
    print(f"vmm: {problem}.", file=sys.stderr)
    return 2
