"""Score the models that one trial of tuning trained: clusters and integration."""

from _script import job, share_compiled_programs

share_compiled_programs()
with job(snakemake):
    from vmm.benchmark.evaluation import evaluate_clustering, evaluate_integration
    from vmm.benchmark.metrics.records import scored_by
    from vmm.benchmark.metrics.rows import concatenate_rows, write_rows
    from vmm.io import read_json

    data, bras = snakemake.input.data, snakemake.params.bras
    folders = [folder for path in snakemake.input.ladders for folder in read_json(path)["folders"]]
    clustering = [metric for metric in scored_by("tuning") if metric.family == "clustering"]
    integration = [metric for metric in scored_by("tuning") if metric.family == "integration"]
    parts = [
        evaluate_clustering(folders, data, clustering),
        evaluate_integration(folders, data, bras, integration),
    ]
    write_rows(concatenate_rows(parts), snakemake.output[0])
