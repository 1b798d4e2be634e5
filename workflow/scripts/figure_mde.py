"""Draw the embeddings of one data set: batch, cell type and cluster."""

from pathlib import Path

from _script import job

with job(snakemake):
    from vmm.data import load
    from vmm.io import read_arrays
    from vmm.plots.mde_figure import mde_figure
    from vmm.plots.style import note_figure, save

    data = load(snakemake.input.data)
    labels = snakemake.params.labels
    parts = {"coordinates": {}, "clusters": {}, "lost": {}}
    for key, values in read_arrays(snakemake.input.layout).items():
        part, method = key.split("/", 1)
        parts[part][labels.get(method, method)] = values
    lost = ", ".join(labels[method] for method in parts["lost"]["methods"].tolist())
    note = f"No trial of {lost} has a value: all diverged." if lost else ""
    if parts["coordinates"]:
        figure = mde_figure(
            parts["coordinates"],
            data.batch,
            data.batch_names,
            data.labels,
            data.label_names,
            parts["clusters"],
            note,
        )
    else:
        figure = note_figure(note)
    save(figure, Path(snakemake.output[0]).with_suffix(""))
