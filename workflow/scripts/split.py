"""Split a data set into training and validation rows."""

from _script import job

with job(snakemake):
    import numpy as np

    from vmm.benchmark.grid import starts
    from vmm.data import load, make_split
    from vmm.data.splits import check_starts
    from vmm.io import atomic

    data = load(snakemake.input.data)
    train, valid = make_split(data, int(snakemake.wildcards.trial), snakemake.params.seed)
    # Here, so that no model is trained in vain.
    for key, n in starts(snakemake.config, data.name).items():
        check_starts(data.name, len(train), key, n)
    with atomic(snakemake.output[0]) as temporary:
        np.savez(temporary, train=train, valid=valid)
