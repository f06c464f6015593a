"""The stages of the training pipeline: one folder each, thin component over a plain function."""
