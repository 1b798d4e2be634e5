"""Draw utilised clusters and NMI against batch size."""

from pathlib import Path

from _script import job

with job(snakemake):
    from vmm.benchmark.metrics.rows import gather_rows
    from vmm.paper.figures.batch_size import batch_size_figure
    from vmm.plots.style import save

    rows = gather_rows(snakemake.input)
    jobs = zip(rows["dataset"], rows["setting"], strict=True)
    of_figure = [job in snakemake.params.jobs for job in jobs]
    save(batch_size_figure(rows[of_figure]), Path(snakemake.output[0]).with_suffix(""))
