"""Draw the embeddings of one data set: batch, cell type and cluster."""

from pathlib import Path

from _script import job

with job(snakemake):
    from vmm.data.containers import load
    from vmm.figures.mde_figure import mde_figure
    from vmm.figures.style import note_figure, save
    from vmm.io import read_arrays

    data = load(snakemake.input.data)
    parts = {"coordinates": {}, "clusters": {}, "lost": {}}
    for key, values in read_arrays(snakemake.input.layout).items():
        part, label = key.split("/", 1)
        parts[part][label] = values
    lost = ", ".join(parts["lost"]["methods"].tolist())
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
