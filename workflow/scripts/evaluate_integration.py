"""Score all embeddings of one data set and trial."""

from _script import folders, job, share_compiled_programs

share_compiled_programs()
with job(snakemake):
    from vmm.benchmark.evaluation.integration import evaluate_integration
    from vmm.benchmark.metrics.rows import write_rows

    rows = evaluate_integration(
        folders(snakemake.input.models),
        snakemake.input.data,
        bras=snakemake.params.bras,
        cells=snakemake.params.cells,
        newer=snakemake.params.newer,
    )
    write_rows(rows, snakemake.output[0])
