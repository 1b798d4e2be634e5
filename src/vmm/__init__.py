"""The VampPrior Mixture Model: priors, models and inference."""
