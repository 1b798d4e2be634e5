"""Train one model."""

from pathlib import Path

from _script import job

with job(snakemake):
    from vmm.grid import with_choice
    from vmm.io import read_json
    from vmm.jobs import train

    spec = snakemake.params.spec
    if snakemake.input.choice:
        spec = with_choice(spec, read_json(snakemake.input.choice))
    train(
        snakemake.input.data,
        snakemake.input.split,
        spec,
        folder=Path(snakemake.output.run).parent,
        device=snakemake.config["device"],
        cuda_graph=snakemake.config["cuda_graph"],
    )
