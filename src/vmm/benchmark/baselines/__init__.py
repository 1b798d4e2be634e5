"""What our models are compared with: embeddings without a model, and scvi-tools' own model."""
