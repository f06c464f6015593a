"""Structured, uniform pruning: what is left is a plain, smaller Hugging Face model."""
