"""Draw prior-predictive samples."""

from pathlib import Path

from _script import job

with job(snakemake):
    from vmm.figures.rows import dataset_label
    from vmm.figures.samples import samples_figure
    from vmm.figures.style import save
    from vmm.io import read_arrays
    from vmm.names import METHODS

    label = METHODS["images"][snakemake.wildcards.method].label
    title = f"{dataset_label(snakemake.wildcards.dataset)}, {label}"
    figure = samples_figure(read_arrays(snakemake.input[0]), title)
    save(figure, Path(snakemake.output[0]).with_suffix(""))
