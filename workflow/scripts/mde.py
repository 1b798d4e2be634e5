"""Lay out the embeddings of the best trial of each method in the plane."""

from _script import folders, job

with job(snakemake):
    import numpy as np

    from vmm.benchmark.best import best_model
    from vmm.benchmark.metrics.rows import gather_rows
    from vmm.data.containers import load
    from vmm.data.stratified import stratified_sample
    from vmm.io import atomic, read_arrays
    from vmm.plots.mde import mde_coordinates

    rows, models = gather_rows(snakemake.input.rows), folders(snakemake.input.models)
    data = load(snakemake.input.data)
    drawn = stratified_sample(snakemake.params.cells, data.batch, data.labels)
    embeddings, clusters, lost = {}, {}, []
    for method in snakemake.params.methods:
        trials = [folder for folder in models if folder.parts[-3] == method]
        folder = best_model(rows, trials, ["Total", "Bio conservation"])
        if folder is None:
            lost.append(method)
            continue
        latent = read_arrays(folder / "latent.npz", "embedding")
        embeddings[method] = latent["embedding"][drawn]
        if "cluster_probs" in latent:
            clusters[f"clusters/{method}"] = latent["cluster_probs"][drawn].argmax(1)
    coordinates = mde_coordinates(embeddings, snakemake.params.seed) if embeddings else {}
    layouts = {f"coordinates/{method}": layout for method, layout in coordinates.items()}
    with atomic(snakemake.output[0]) as temporary:
        others = {"lost/methods": np.array(lost, str), "drawn/cells": drawn}
        np.savez_compressed(temporary, **layouts, **clusters, **others)
