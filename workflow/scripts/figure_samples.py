"""Draw prior-predictive samples."""

from pathlib import Path

from _script import job

with job(snakemake):
    import numpy as np

    from vmm.figures.rows import dataset_label
    from vmm.figures.samples import samples_figure
    from vmm.figures.style import save
    from vmm.names import METHODS

    label = METHODS["images"][snakemake.wildcards.method].label
    title = f"{dataset_label(snakemake.wildcards.dataset)}, {label}"
    with np.load(snakemake.input[0], allow_pickle=False) as archive:
        figure = samples_figure(archive, title)
    save(figure, Path(snakemake.output[0]).with_suffix(""))
