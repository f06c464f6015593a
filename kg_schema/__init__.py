"""The knowledge graph: what it holds, how it is kept, and the one way to reach it."""
