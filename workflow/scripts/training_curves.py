"""Draw the training curves of one data set."""

from pathlib import Path

from _script import folders, job

with job(snakemake):
    from vmm.figures.rows import dataset_label
    from vmm.figures.style import save
    from vmm.figures.training_curves import read_history, training_curves_figure
    from vmm.io import read_json

    histories, best_epochs = {}, {}
    models = zip(folders(snakemake.input), snakemake.params.methods, strict=True)
    for folder, method in models:
        history = read_history(folder / "history.csv")
        if not history["utilized_clusters"].any():
            history = history.assign(utilized_clusters=float("nan"))  # this prior has none
        histories.setdefault(method, []).append(history)
        best_epochs.setdefault(method, []).append(read_json(folder / "run.json")["best_epoch"])
    title = dataset_label(snakemake.wildcards.dataset)
    figure = training_curves_figure(histories, best_epochs, snakemake.params.kind, title)
    save(figure, Path(snakemake.output[0]).with_suffix(""))
