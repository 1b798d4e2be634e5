"""Draw prior-predictive samples."""

from pathlib import Path

from _script import job

with job(snakemake):
    from vmm.io import read_arrays
    from vmm.paper.labels import dataset_label
    from vmm.plots.samples import samples_figure
    from vmm.plots.style import note_figure, save

    title = f"{dataset_label(snakemake.wildcards.dataset)}, {snakemake.params.label}"
    archive = read_arrays(snakemake.input[0])
    noted = "note" in archive
    figure = (
        note_figure(f"{title}: {archive['note']}.") if noted else samples_figure(archive, title)
    )
    save(figure, Path(snakemake.output[0]).with_suffix(""))
