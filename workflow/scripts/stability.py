"""Compare the clusters of the trials of each model of one data set."""

from pathlib import Path

from _script import folders, job

with job(snakemake):
    from vmm.benchmark.evaluation.stability import evaluate_stability
    from vmm.io import atomic

    with atomic(Path(snakemake.output[0])) as temporary:
        evaluate_stability(folders(snakemake.input.models)).to_csv(temporary, index=False)
