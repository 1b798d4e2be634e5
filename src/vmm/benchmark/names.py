"""Names of metrics, and the columns of a tidy row."""

from __future__ import annotations

ROW_COLUMNS = ["dataset", "model", "prior", "setting", "trial", "metric", "value", "status"]
"""Columns of a row of metrics. ``value`` is empty unless ``status`` is ``ok``."""

CLUSTERING_METRICS = [
    "Utilized clusters",
    "Accuracy",
    "NMI (merged)",
    "NMI (unmerged)",
    "ARI (merged)",
    "ARI (unmerged)",
]
ELBO_METRICS = [
    "log p(x|x)",
    "log p(x)",
    "E_q[log p(x|z)]",
    "KL(q(z|x)||p(z))",
    "KL(q(z)||p(z))",
    "I[z;n]",
]
BATCH_METRICS = ["Graph connectivity", "KBET", "PCR comparison", "Silhouette batch", "iLISI"]
BIO_METRICS = ["Isolated labels", "KMeans ARI", "KMeans NMI", "Silhouette label", "cLISI"]
AGGREGATE_METRICS = ["Batch correction", "Bio conservation", "Total"]
INTEGRATION_METRICS = AGGREGATE_METRICS + BATCH_METRICS + BIO_METRICS
