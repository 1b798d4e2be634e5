"""Choose a data set's batch size and prior learning ratio."""

from _script import job

with job(snakemake):
    from vmm.benchmark.metrics.rows import gather_rows, write_rows
    from vmm.benchmark.tuning import choose_setting
    from vmm.io import read_json, write_json

    rows = gather_rows(snakemake.input.scores)
    write_rows(rows, snakemake.output.scores)
    data = read_json(snakemake.input.description)
    choice = choose_setting(rows, data["n_types"], single_batch=data["n_batches"] == 1)
    write_json(snakemake.output.choice, choice)
