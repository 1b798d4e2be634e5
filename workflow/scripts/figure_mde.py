"""Draw the embeddings of one data set: batch, cell type and cluster."""

from pathlib import Path

from _script import job

with job(snakemake):
    import numpy as np

    from vmm.data import load
    from vmm.figures.mde_figure import mde_figure
    from vmm.figures.style import save

    data = load(snakemake.input.data)
    parts = {"coordinates": {}, "clusters": {}}
    with np.load(snakemake.input.layout, allow_pickle=False) as layout:
        for key in layout.files:
            part, label = key.split("/", 1)
            parts[part][label] = layout[key]
    figure = mde_figure(
        parts["coordinates"],
        data.batch,
        data.batch_names,
        data.labels,
        data.label_names,
        parts["clusters"],
    )
    save(figure, Path(snakemake.output[0]).with_suffix(""))
