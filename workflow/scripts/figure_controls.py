"""Draw the scores of one data set between those of its controls, and write them down."""

from pathlib import Path

from _script import job

with job(snakemake):
    from vmm.benchmark.methods.records import METHODS
    from vmm.benchmark.metrics.rows import gather_rows
    from vmm.io import atomic
    from vmm.paper.controls import control_scores, controls_figure
    from vmm.plots.style import save

    table = control_scores(gather_rows(snakemake.input))
    with atomic(Path(snakemake.output.table)) as temporary:
        table.to_csv(temporary, index=False)
    save(controls_figure(table, METHODS["cells"]), Path(snakemake.output[0]).with_suffix(""))
