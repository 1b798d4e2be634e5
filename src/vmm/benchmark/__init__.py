"""The benchmark: from a configuration to jobs, models and tidy rows of metrics."""
