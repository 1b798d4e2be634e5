"""Score the clusters of all models of one data set and trial, and Leiden's of their embeddings."""

from _script import folders, job

with job(snakemake):
    from vmm.benchmark.evaluation.clustering import evaluate_clustering
    from vmm.benchmark.evaluation.leiden import evaluate_leiden
    from vmm.benchmark.metrics.rows import concatenate_rows, write_rows

    data, embeddings = snakemake.input.data, folders(snakemake.input.embeddings)
    newer = snakemake.params.newer
    parts = [evaluate_clustering(folders(snakemake.input.models), data, newer)]
    if embeddings:
        resolution, cells = snakemake.params.resolution, snakemake.params.cells
        parts.append(evaluate_leiden(embeddings, data, resolution, cells, newer))
    write_rows(concatenate_rows(parts), snakemake.output[0])
