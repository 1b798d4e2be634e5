"""Take the validation ELBO of one model apart."""

from pathlib import Path

from _script import job

with job(snakemake):
    from vmm.benchmark.evaluation.elbo_surgery import evaluate_elbo_surgery
    from vmm.benchmark.metrics.rows import write_rows

    rows = evaluate_elbo_surgery(
        Path(snakemake.input.run).parent,
        snakemake.input.data,
        snakemake.input.split,
        n_samples=snakemake.params.n_samples,
        device=snakemake.config["device"],
    )
    write_rows(rows, snakemake.output[0])
