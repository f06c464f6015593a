"""Brings the graph to its schema and loads a company's files into it."""
