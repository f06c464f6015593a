"""A model as an ONNX graph, whole or in 8 bits; what export and prune share."""
