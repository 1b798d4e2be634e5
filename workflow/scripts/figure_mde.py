"""Draw the embeddings of one data set: batch, cell type and cluster."""

from pathlib import Path

from _script import job

with job(snakemake):
    from vmm.data.containers import load
    from vmm.io import read_arrays
    from vmm.plots.mde_figure import mde_figure
    from vmm.plots.style import note_figure, save

    data = load(snakemake.input.data)
    labels = snakemake.params.labels
    parts = {"coordinates": {}, "clusters": {}, "lost": {}, "drawn": {}}
    for key, values in read_arrays(snakemake.input.layout).items():
        part, method = key.split("/", 1)
        parts[part][labels.get(method, method)] = values
    lost = ", ".join(labels[method] for method in parts["lost"]["methods"].tolist())
    drawn = parts["drawn"]["cells"]
    notes = [f"No trial of {lost} has a value: all diverged."] if lost else []
    if len(drawn) < data.n_cells:
        notes.append(
            f"{len(drawn):,} of {data.n_cells:,} cells; each batch and type has its share."
        )
    note = " ".join(notes)
    if parts["coordinates"]:
        figure = mde_figure(
            parts["coordinates"],
            data.batch[drawn],
            data.batch_names,
            data.labels[drawn],
            data.label_names,
            parts["clusters"],
            note,
        )
    else:
        figure = note_figure(note)
    save(figure, Path(snakemake.output[0]).with_suffix(""))
