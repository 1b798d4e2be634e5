"""Lay out the embeddings of the best trial of each method in the plane."""

from _script import folders, job

with job(snakemake):
    import numpy as np

    from vmm.best import best_model
    from vmm.figures.mde import mde_coordinates
    from vmm.io import atomic, read_arrays
    from vmm.metrics.rows import gather_rows
    from vmm.names import METHODS

    rows, models = gather_rows(snakemake.input.rows), folders(snakemake.input.models)
    embeddings, clusters, lost = {}, {}, []
    for method in snakemake.params.methods:
        trials = [folder for folder in models if folder.parts[-3] == method]
        folder = best_model(rows, trials, ["Total", "Bio conservation"])
        label = METHODS["cells"][method].label
        if folder is None:
            lost.append(label)
            continue
        latent = read_arrays(folder / "latent.npz", "embedding")
        embeddings[label] = latent["embedding"]
        if "cluster_probs" in latent:
            clusters[f"clusters/{label}"] = latent["cluster_probs"].argmax(1)
    coordinates = mde_coordinates(embeddings, snakemake.params.seed) if embeddings else {}
    layouts = {f"coordinates/{label}": layout for label, layout in coordinates.items()}
    with atomic(snakemake.output[0]) as temporary:
        np.savez_compressed(
            temporary, **layouts, **clusters, **{"lost/methods": np.array(lost, str)}
        )
