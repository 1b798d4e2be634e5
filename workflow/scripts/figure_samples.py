"""Draw prior-predictive samples."""

from pathlib import Path

from _script import job

with job(snakemake):
    from vmm.figures.rows import dataset_label
    from vmm.figures.samples import samples_figure
    from vmm.figures.style import note_figure, save
    from vmm.io import read_arrays
    from vmm.names import METHODS

    label = METHODS["images"][snakemake.wildcards.method].label
    title = f"{dataset_label(snakemake.wildcards.dataset)}, {label}"
    archive = read_arrays(snakemake.input[0])
    noted = "note" in archive
    figure = (
        note_figure(f"{title}: {archive['note']}.") if noted else samples_figure(archive, title)
    )
    save(figure, Path(snakemake.output[0]).with_suffix(""))
