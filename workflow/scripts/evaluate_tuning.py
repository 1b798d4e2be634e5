"""Score the models that one trial of tuning trained: clusters and integration."""

from _script import job, share_compiled_programs

share_compiled_programs()
with job(snakemake):
    from vmm.benchmark.evaluation.clustering import evaluate_clustering
    from vmm.benchmark.evaluation.integration import evaluate_integration
    from vmm.benchmark.metrics.records import scored_by
    from vmm.benchmark.metrics.rows import concatenate_rows, write_rows
    from vmm.io import read_json

    data, params = snakemake.input.data, snakemake.params
    folders = [folder for path in snakemake.input.ladders for folder in read_json(path)["folders"]]
    integration = evaluate_integration(folders, data, bras=params.bras, cells=params.cells)
    rows = concatenate_rows([evaluate_clustering(folders, data), integration])
    needed = [metric.name for metric in scored_by("tuning")]
    write_rows(rows[rows["metric"].isin(needed)], snakemake.output[0])
