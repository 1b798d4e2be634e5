"""Metrics: clustering, ELBO surgery, integration, and the paired tests between methods.

Modules are imported one by one (``from …metrics.clustering import …``), because
their dependencies differ in weight: `rows` and `significance` need pandas and scipy, `clustering`
scikit-learn, `elbo_surgery` torch, `integration` scib-metrics with jax.
"""
