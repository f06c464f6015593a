"""What stands in the train image's place until a package names it (pipelines/images.py)."""

# A local run has no image, and kfp.local warns of names without "python".
TRAIN_IMAGE = "python:3.11"

IMAGE_VARIABLE = "DESKGRAPH_IMAGE"
"""Tells a step the image that it runs in."""
