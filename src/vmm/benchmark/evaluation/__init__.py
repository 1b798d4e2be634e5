"""From models' folders to tidy rows of metrics, a family of metrics a file."""
