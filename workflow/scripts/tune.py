"""Train the VMM at one batch size with ascending ratios: one trial, or all trials at once."""

from _script import job

with job(snakemake):
    from vmm.benchmark.setting import Setting
    from vmm.benchmark.spec import Spec
    from vmm.benchmark.tuning import climb
    from vmm.io import read_json, write_json

    description = read_json(snakemake.input.description)
    # A finished step is not trained again, unless the data or the code are other ones.
    origin = {"data": description["content_sha256"], "code": snakemake.params.code}
    specs = [Spec.of(plain) for plain in snakemake.params.specs]

    def folder_of(trial: int, setting: Setting) -> str:
        """Return the folder of a step's model."""
        return snakemake.params.models.format(setting=setting, trial=trial)

    ladders = climb(
        snakemake.input.data,
        snakemake.input.splits,
        specs,
        snakemake.params.ratios,
        None if snakemake.params.unsupervised else description["n_types"],
        folder_of,
        device=snakemake.config["device"],
        cuda_graph=snakemake.config["cuda_graph"],
        origin=origin,
    )
    for spec, steps, path in zip(specs, ladders, snakemake.output, strict=True):
        trial = spec.job.trial
        folders = [folder_of(trial, Setting.parse(step["setting"])) for step in steps]
        write_json(path, {"folders": folders, "steps": steps})
