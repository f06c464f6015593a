"""The image the stages run in, unless a profile names another."""

# kfp.local warns of images whose name lacks "python"; ours says what it is.
TRAIN_IMAGE = "deskgraph-train-python:0.1.0"
