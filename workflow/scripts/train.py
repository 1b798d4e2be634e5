"""Train one model: one trial, or all trials at once."""

from _script import folders, job

with job(snakemake):
    from vmm.benchmark.jobs import train_trials
    from vmm.benchmark.spec import Spec
    from vmm.io import read_json

    specs = [Spec.of(plain) for plain in snakemake.params.specs]
    if snakemake.input.choice:
        choice = read_json(snakemake.input.choice)
        specs = [spec.with_choice(choice) for spec in specs]
    train_trials(
        snakemake.input.data,
        snakemake.input.splits,
        specs,
        folders(snakemake.output),
        device=snakemake.config["device"],
        cuda_graph=snakemake.config["cuda_graph"],
    )
