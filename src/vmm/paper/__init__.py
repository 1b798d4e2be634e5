"""The paper's tables and figures, and the page of a run."""
