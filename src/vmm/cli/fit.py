"""``vmm fit``: from an ``.h5ad`` file to embedding, clusters and a page."""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vmm import memory
from vmm.cli import stability as seeds
from vmm.cli.cells import Cells, covariate_arguments, read_cells, tell
from vmm.cli.parts import first_line
from vmm.cli.result import ResultFile, Source
from vmm.data.messages import number_of
from vmm.data.splits import VALID_FRACTION, n_validated
from vmm.data.supplied import supplied
from vmm.device import resolve_device
from vmm.errors import InputError
from vmm.io import atomic
from vmm.priors.records import PRIORS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from vmm.scvi import SCVI
    from vmm.scvi.stability import ClusterStability

FIGURES = ("clusters", "batches", "labels", "consensus", "stays", "composition", "training")
"""Names of all figures; each option has its own."""
TUNING = "tuning.csv"


def fit_file(options: argparse.Namespace) -> int:
    """Do what the options of ``vmm fit`` say; what is wrong is found before training.

    Returns
    -------
    int
        The exit status: 1 if all was written, but the user's file is no longer what it was.

    Raises
    ------
    InputError
        If anything about the file or the options is wrong.
    """
    path = supplied(options.path, "name an .h5ad or .h5mu file, or a zarr store")
    folder = _output(options.output)
    name = f"{path.stem}_vmm.h5ad"
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; --output must name a folder.")
    if _has_files(folder) and not options.overwrite:
        raise InputError(f"{folder} has files; name another --output, or add --overwrite.")
    resolve_device(options.device)  # one that cannot be used is refused before anything is read
    _check_likelihood(options)
    tell(f"Reading {path}")
    with Source(path) as source:
        cells = read_cells(options)
        source.refuse_changed()
        _check_components(cells.adata.n_obs, path, options)
        counts = not options.without_counts
        results = ResultFile(folder / name, counts=counts, modality=cells.modality)
        with _folder(folder), results as result, warnings.catch_warnings():
            _only_our_warnings(cells)
            cells.note(*result.begin(source, _results(cells, options), options.n_latent))
            tell(f"Training on {cells.adata.n_obs:,} cells × {cells.adata.n_vars:,} genes")
            model = train(cells, options, folder)
            with _kept(folder, model):
                if changed := source.changed():
                    cells.alarm(
                        f"{path} was changed or replaced meanwhile: {name} and all else is of what "
                        "it was at the start."
                    )
                write(model, cells, result, options)
            return int(changed)


def _output(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise InputError(f"--output {text} is not a path ({error}).") from error


def _has_files(folder: Path) -> bool:
    """Return whether a folder has more than what a killed process left."""
    return folder.exists() and any(
        not (path.name.startswith(".") and path.name.endswith(".h5ad")) for path in folder.iterdir()
    )


def _check_components(n_cells: int, path: Path, options: argparse.Namespace) -> None:
    n_train = n_cells - n_validated(n_cells, VALID_FRACTION["cells"])
    if PRIORS[options.prior].starts_from_data and options.n_components > n_train:
        raise InputError(
            f"{path} has {number_of(n_train, 'cell')} to train on, fewer than --n-components "
            f"{options.n_components}; use at most {n_train}."
        )


@contextmanager
def _folder(folder: Path) -> Iterator[None]:
    """Make a folder and see that it can be written to, before hours of training.

    If the block fails before it wrote anything, the folder goes, unless it was there before.
    """
    new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--output {folder} cannot be made: {error.strerror}.") from error
    try:
        tempfile.TemporaryFile(dir=folder).close()
        yield
    except BaseException:
        if new:
            with suppress(OSError):  # it is not empty
                folder.rmdir()
        raise


@contextmanager
def _kept(folder: Path, model: SCVI) -> Iterator[None]:
    """Save the model before all else: whatever fails then can be done again, which is said."""
    model.save(str(folder / "model"), overwrite=True)
    try:
        yield
    except BaseException:
        tell(f"\nThe trained model is kept: vmm.SCVI.load({str(folder / 'model')!r}, adata=False)")
        raise


def _check_likelihood(options: argparse.Namespace) -> None:
    from vmm.models.count_vae import check_likelihood

    check_likelihood(options.likelihood, options.dispersion)


def _results(cells: Cells, options: argparse.Namespace) -> pd.DataFrame:
    """Return columns such as the results will have."""
    import pandas as pd

    values = {"vmm_cluster": "0", "vmm_probability": 0.0, **seeds.columns(None, options)}
    table = pd.DataFrame(values, index=cells.index)
    names = table.columns[table.dtypes == table["vmm_cluster"].dtype]
    return table.astype(dict.fromkeys(names, "category"))


def train(cells: Cells, options: argparse.Namespace, folder: Path) -> SCVI:
    """Train the model that the options describe, after a search for two of them if asked for."""
    from vmm.scvi import SCVI

    SCVI.setup_anndata(
        cells.adata,
        batch_key=options.batch_key,
        labels_key=options.label_key,
        **covariate_arguments(options),
    )
    networks = dict(
        prior=options.prior,
        n_hidden=options.n_hidden,
        n_latent=options.n_latent,
        n_layers=options.n_layers,
        gene_likelihood=options.likelihood,
        dispersion=options.dispersion,
        encode_covariates=not options.no_encode_covariates,
        n_components=options.n_components,
        seed=options.seed,
        threads=options.threads,
    )
    how = dict(
        max_epochs=options.max_epochs,
        accelerator=options.device,
        learning_rate=options.learning_rate,
        early_stopping_patience=options.patience,
        precision=options.precision,
        cuda_graph=options.cuda_graph,
        sleep_below=options.sleep_below,
    )
    (folder / TUNING).unlink(missing_ok=True)  # of another run
    if options.tune:
        found = SCVI.tune(cells.adata, **how, **networks)
        with atomic(folder / TUNING) as temporary:
            found.table.to_csv(temporary, index=False)
        cells.note(f"Chosen without labels ({TUNING}). {found.reason}")
        for key, value in found.options.items():
            setattr(options, key, value)
    model = SCVI(cells.adata, **networks)
    model.train(
        batch_size=options.batch_size, prior_learning_ratio=options.prior_learning_ratio, **how
    )
    return model


def write(model: SCVI, cells: Cells, result: ResultFile, options: argparse.Namespace) -> None:
    """Write the output folder, what took longest to compute first."""
    import pandas as pd

    from vmm.cli.page import write_page
    from vmm.plots.style import save

    folder = result.path.parent
    _say_if_cut(model, cells, options)
    stability = seeds.stability_of(model, cells, options)
    uncertainty = model.get_cluster_uncertainty()
    if stability is not None:
        uncertainty = uncertainty.join(stability.cells.drop(columns="cluster"))
    with atomic(folder / "cells.csv") as temporary:
        uncertainty.rename_axis("cell").to_csv(temporary)
    clusters = model.predict()
    values = {"vmm_cluster": clusters, "vmm_probability": uncertainty["probability"].to_numpy()}
    obs = pd.DataFrame(values | seeds.columns(stability, options), index=cells.index)
    obsm = {"X_vmm": model.get_latent_representation()}
    _say_if_full(len(clusters.categories), cells, options)
    tell(f"Describing {number_of(len(clusters.categories), 'cluster')}")
    try:
        figures = draw(model, cells, options, stability)
    finally:
        layout = {key: cells.adata.obsm[key] for key in ("X_vmm_mde",) if key in cells.adata.obsm}
        cells.note(*result.finish(obs, obsm | layout))
    table = seeds.described(summary(model, cells), stability)
    seeds.write_seeds(folder, stability)
    with atomic(folder / "clusters.csv") as temporary:
        table.to_csv(temporary)
    _remove_figures(folder / "figures")  # of options that are no longer given
    for name, figure in figures.items():
        save(figure, folder / "figures" / name)
    write_page(folder / "report.html", model, table, figures, cells, options, stability)
    tell(
        f"{number_of(len(clusters.categories), 'cluster')}; open {folder / 'report.html'}, go on "
        f"with {result.path}"
    )


def _say_if_cut(model: SCVI, cells: Cells, options: argparse.Namespace) -> None:
    """Say that training might have gone on, had it been allowed more epochs."""
    epochs, best = len(model.history["elbo_train"]), model.best_epoch_
    if epochs == options.max_epochs and epochs - best < options.patience:
        cells.alarm(
            f"Training was cut at --max-epochs {epochs}: the best validation ELBO so far is that "
            f"of epoch {best}, and it is done only after {options.patience} epochs without a "
            "better one. Clusters may still change; train again with more --max-epochs (default: "
            "10000)."
        )


def _say_if_full(n_clusters: int, cells: Cells, options: argparse.Namespace) -> None:
    """Say that a mixture had no component left, so that its number was not found but given."""
    if PRIORS[options.prior].empirical_bayes and n_clusters == options.n_components:
        cells.alarm(
            f"All of --n-components {n_clusters} have cells, so there might be more clusters; "
            "train again with more components, or longer where the training was cut."
        )


def draw(
    model: SCVI,
    cells: Cells,
    options: argparse.Namespace,
    stability: ClusterStability | None,
) -> dict[str, Figure]:
    """Draw the figures of the page; one that cannot be drawn is left out, and named."""
    from vmm.scvi.plots import LAID_OUT

    if cells.adata.n_obs > LAID_OUT:
        cells.note(
            f"Pictures of cells are of {LAID_OUT:,} of {cells.adata.n_obs:,} cells, a sample in "
            "which every batch and cluster has its share; numbers of cells are of all."
        )
    makers: dict[str, Callable[[], Figure]] = {
        "clusters": lambda: model.plot_cells(max_cells=LAID_OUT)
    }
    if options.batch_key is not None:
        makers["batches"] = lambda: model.plot_cells(options.batch_key, max_cells=LAID_OUT)
    if cells.labels is not None:
        n, n_labelled = len(cells.labels), int(cells.labels.notna().sum())
        if n_labelled < n:
            cells.note(f"{n_labelled:,} of {n:,} cells have a label in {options.label_key}.")
        if n_labelled:
            makers["labels"] = lambda: model.plot_cells(options.label_key, max_cells=LAID_OUT)
            makers["composition"] = lambda: _composition(model, cells.labels)
    makers |= seeds.makers(model, stability)
    makers["training"] = model.plot_training
    figures = {}
    for name, make in makers.items():
        try:
            figures[name] = make()
        except Exception as error:  # all else is worth more than a figure
            cells.note(f"The figure of {name} could not be drawn: {first_line(error)}.")
    return figures


def _composition(model: SCVI, labels: pd.Series) -> Figure:
    """Draw what clusters consist of, as far as cells have labels."""
    import pandas as pd

    from vmm.plots.composition import composition_figure

    labelled = labels.notna().to_numpy()
    counts = pd.crosstab(np.asarray(model.predict())[labelled], labels[labelled].to_numpy())
    return composition_figure(counts, f"Known labels in each cluster, {labelled.sum():,} cells")


def summary(model: SCVI, cells: Cells) -> pd.DataFrame:
    """Describe the clusters; of labels, with the number of cells that have one."""
    adata, clusters = cells.adata, model.predict()
    if cells.labels is not None:  # they are described here
        del adata.obs[cells.labels.name]
    n_markers = 5 if len(clusters.categories) > 1 else 0
    copy = adata.X.data.nbytes + adata.X.indices.nbytes  # scvi-tools makes it of both groups
    if n_markers and not memory.fits(copy):
        n_markers = 0
        cells.note(
            f"Markers were not looked for: to compare clusters takes {copy / 1e9:.1f} GB beside "
            f"the counts, and {memory.free_memory() / 1e9:.1f} GB of memory are free; the model's "
            "`differential_expression` compares some of the cells."
        )
    table = model.get_cluster_summary(adata, n_markers=n_markers)
    if cells.labels is None:
        return table
    by_cluster = cells.labels.groupby(np.asarray(clusters))
    most = by_cluster.agg(lambda labels: next(iter(labels.value_counts().index), ""))
    described = {
        "n_labelled": by_cluster.count(),
        "label": most,
        "label_fraction": by_cluster.agg(lambda x: x.value_counts(normalize=True).max()),
    }
    for place, (name, values) in enumerate(described.items(), table.columns.get_loc("weight") + 1):
        table.insert(place, name, values.reindex(table.index))
    return table


def _remove_figures(folder: Path) -> None:
    for name in FIGURES:
        for path in folder.glob(f"{name}.*"):
            path.unlink()


def _only_our_warnings(cells: Cells) -> None:
    """Show what the user must know about the training, as plain lines, and nothing else."""
    warnings.simplefilter("ignore")
    warnings.filterwarnings(
        "always", message="Trainings? (that met NaN|was interrupted|met NaN|goes on)"
    )
    warnings.showwarning = lambda message, *_, **__: cells.alarm(str(message))
