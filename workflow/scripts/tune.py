"""Train the VMM at one batch size with ascending prior learning ratios."""

from _script import job

with job(snakemake):
    from vmm.grid import tuning_setting
    from vmm.io import read_json, write_json
    from vmm.tuning import climb

    spec, trial = snakemake.params.spec, snakemake.wildcards.trial
    description = read_json(snakemake.input.description)
    # A finished step is not trained again, unless the data or the code are other ones.
    origin = {"data": description["content_sha256"], "code": snakemake.params.code}

    def folder_of(ratio: float) -> str:
        """Return the folder of a step's model."""
        setting = tuning_setting(spec["batch_size"], ratio)
        return f"{snakemake.params.models}/{setting}/trial_{trial}"

    steps = climb(
        snakemake.input.data,
        snakemake.input.split,
        spec | origin,
        snakemake.params.ratios,
        description["n_types"],
        folder_of,
        device=snakemake.config["device"],
        cuda_graph=snakemake.config["cuda_graph"],
    )
    folders = [folder_of(step["prior_learning_ratio"]) for step in steps]
    write_json(snakemake.output[0], {"folders": folders, "steps": steps})
