"""Split a data set into training and validation rows."""

from _script import job

with job(snakemake):
    import numpy as np

    from vmm.data import load, make_split
    from vmm.data.splits import check_pseudo_inputs
    from vmm.grid import pseudo_inputs
    from vmm.io import atomic

    data = load(snakemake.input.data)
    train, valid = make_split(data, int(snakemake.wildcards.trial), snakemake.params.seed)
    # Here, so that no model is trained in vain.
    check_pseudo_inputs(data.name, len(train), pseudo_inputs(snakemake.config, data.name))
    with atomic(snakemake.output[0]) as temporary:
        np.savez(temporary, train=train, valid=valid)
