"""What data sets are made from."""

from vmm.data import origin


def own_files(wildcards):
    """Return the user's own files of a data set, whose times mean nothing.

    A file that was moved or unpacked here is older than results made from another, and a copy of
    the same is newer: what counts is in the parameter `contents`.
    """
    return [ancient(str(path)) for path in local_files(wildcards)]


def local_files(wildcards):
    """Return the files on this machine that a data set is made from, but for downloads."""
    settings = grid.data_settings(config["datasets"][wildcards.dataset])
    return sorted(origin.local_files(source(wildcards), settings, config["mirror"]))


def contents_of(wildcards):
    """Return what is in the user's own files: a checksum of each."""
    return content_hashes(local_files(wildcards), kept=".snakemake/vmm-checksums.json")


def source(wildcards):
    """Return the record of where a data set comes from."""
    settings = grid.data_settings(config["datasets"][wildcards.dataset])
    return origin.find(wildcards.dataset, settings)


def readers(wildcards):
    """Return the modules that read a data set, its own and no other's."""
    return [step.partition(":")[0] for step in source(wildcards).steps]
