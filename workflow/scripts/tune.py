"""Train the VMM at one batch size with ascending ratios: one trial, or all trials at once."""

from _script import job

with job(snakemake):
    from vmm.grid import tuning_setting
    from vmm.io import read_json, write_json
    from vmm.tuning import climb

    description = read_json(snakemake.input.description)
    # A finished step is not trained again, unless the data or the code are other ones.
    origin = {"data": description["content_sha256"], "code": snakemake.params.code}
    specs = [spec | origin for spec in snakemake.params.specs]

    def folder_of(trial: int, ratio: float) -> str:
        """Return the folder of a step's model."""
        setting = tuning_setting(specs[0]["batch_size"], ratio)
        return f"{snakemake.params.models}/{setting}/trial_{trial}"

    ladders = climb(
        snakemake.input.data,
        snakemake.input.splits,
        specs,
        snakemake.params.ratios,
        description["n_types"],
        folder_of,
        device=snakemake.config["device"],
        cuda_graph=snakemake.config["cuda_graph"],
    )
    for spec, steps, path in zip(specs, ladders, snakemake.output, strict=True):
        folders = [folder_of(spec["trial"], step["prior_learning_ratio"]) for step in steps]
        write_json(path, {"folders": folders, "steps": steps})
