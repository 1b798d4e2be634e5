"""Draw the training curves of one data set."""

from pathlib import Path

from _script import folders, job

with job(snakemake):
    from vmm.io import read_json
    from vmm.paper.labels import dataset_label
    from vmm.plots.style import save
    from vmm.plots.training_curves import Trainings, read_history, training_curves_figure

    trainings = {}
    models = zip(folders(snakemake.input), snakemake.params.shown, strict=True)
    for folder, (label, colour) in models:
        history = read_history(folder / "history.csv")
        if not history["utilized_clusters"].any():
            history = history.assign(utilized_clusters=float("nan"))  # this prior has none
        of_method = trainings.setdefault(label, Trainings(label, colour, [], []))
        of_method.histories.append(history)
        of_method.best_epochs.append(read_json(folder / "run.json")["best_epoch"])
    title = dataset_label(snakemake.wildcards.dataset)
    figure = training_curves_figure(list(trainings.values()), title)
    save(figure, Path(snakemake.output[0]).with_suffix(""))
