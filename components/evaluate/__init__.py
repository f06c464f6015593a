"""Evaluate: the candidates side by side, and the answers with and without the graph."""
