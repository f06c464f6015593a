"""Export to ONNX: the graph that is served, checked against the model it came from."""
