"""What data sets are made from."""

from vmm.data import origin


def own_files(wildcards):
    """Return the user's own files of a data set, so that another content is read anew."""
    dataset = config["datasets"][wildcards.dataset]
    named = [dataset.get(key) for key in ("path", "matrix", "cells")]
    paths = [Path(name).expanduser() for name in named if name]
    files = [file for path in paths for file in (path.iterdir() if path.is_dir() else [path])]
    return sorted(str(file) for file in files if file.is_file())


def source(wildcards):
    """Return the record of where a data set comes from."""
    settings = grid.data_settings(config["datasets"][wildcards.dataset])
    return origin.find(wildcards.dataset, settings)


def readers(wildcards):
    """Return the modules that read a data set, its own and no other's."""
    return [step.partition(":")[0] for step in source(wildcards).steps]
