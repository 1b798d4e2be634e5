"""Train one model: one trial, or all trials at once."""

from _script import folders, job

with job(snakemake):
    from vmm.grid import with_choice
    from vmm.io import read_json
    from vmm.jobs import train_trials

    specs = snakemake.params.specs
    if snakemake.input.choice:
        choice = read_json(snakemake.input.choice)
        specs = [with_choice(spec, choice) for spec in specs]
    train_trials(
        snakemake.input.data,
        snakemake.input.splits,
        specs,
        folders(snakemake.output),
        device=snakemake.config["device"],
        cuda_graph=snakemake.config["cuda_graph"],
    )
