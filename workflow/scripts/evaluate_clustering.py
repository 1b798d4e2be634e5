"""Score the clusters of all models of one data set and trial."""

from _script import folders, job

with job(snakemake):
    from vmm.evaluation import evaluate_clustering
    from vmm.metrics.rows import write_rows

    rows = evaluate_clustering(folders(snakemake.input.models), snakemake.input.data)
    write_rows(rows, snakemake.output[0])
