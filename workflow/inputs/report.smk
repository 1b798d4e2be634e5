"""What the page of a run is made from."""

from snakemake import __version__ as snakemake_version
from vmm.paper.report import contents

CAPTIONS = sorted((PAGE / "captions").glob("*.rst"))


def curve_jobs(wildcards):
    """Return the models whose training curves one figure shows."""
    return contents.curve_jobs(config, wildcards.dataset)
