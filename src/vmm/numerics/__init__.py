"""Densities, likelihoods of counts and matrix products: pure functions of tensors."""
