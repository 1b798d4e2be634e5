"""Choose a data set's batch size and prior learning ratio."""

from _script import job

with job(snakemake):
    from vmm.benchmark.choice import choose_setting, choose_without_labels
    from vmm.benchmark.metrics.rows import gather_rows, write_rows
    from vmm.io import read_json, write_json

    tuned = snakemake.input.tuned
    if snakemake.params.unsupervised:
        folders = [folder for path in tuned for folder in read_json(path)["folders"]]
        choice, rows = choose_without_labels(folders)
    else:
        rows, data = gather_rows(tuned), read_json(snakemake.input.description)
        choice = choose_setting(rows, data["n_types"], single_batch=data["n_batches"] == 1)
    write_rows(rows, snakemake.output.scores)
    write_json(snakemake.output.choice, choice)
