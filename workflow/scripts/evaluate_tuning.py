"""Score the models that one trial of tuning trained: clusters and integration."""

from _script import job, share_compiled_programs

share_compiled_programs()
with job(snakemake):
    from vmm.benchmark.evaluation.clustering import evaluate_clustering
    from vmm.benchmark.evaluation.integration import evaluate_integration
    from vmm.benchmark.metrics.rows import concatenate_rows, write_rows
    from vmm.io import read_json

    data, bras = snakemake.input.data, snakemake.params.bras
    folders = [folder for path in snakemake.input.ladders for folder in read_json(path)["folders"]]
    parts = [evaluate_clustering(folders, data), evaluate_integration(folders, data, bras=bras)]
    write_rows(concatenate_rows(parts), snakemake.output[0])
